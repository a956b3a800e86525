import type { EngineStats } from "../engine/engine.ts";
import type {
  ChatMessage,
  ChatParams,
  GenerateParams,
  GenerationEvent,
  ModelInfo,
  RenderParams,
  ScoredToken,
  ScoreParams,
} from "./types.ts";

/** A reply under way: iterate it for events, or await one of its endings. Leaving the loop early aborts it. */
export interface Generation extends AsyncIterable<GenerationEvent> {
  /** The whole text. */
  text(): Promise<string>;
  /** The last event. */
  finish(): Promise<Extract<GenerationEvent, { kind: "finish" }>>;
}

export interface ModelStats extends EngineStats {
  /** Of each worker, where several run the model: then all else is their sum. */
  readonly workers?: readonly WorkerStats[];
}

export interface WorkerStats {
  /** Where it runs. */
  readonly label: string;
  readonly isLive: boolean;
  /** Times that it was started again. */
  readonly restarts: number;
  /** Since it was started last; of one that is gone, what it said last. */
  readonly stats: EngineStats;
}

/** A loaded language model. */
export interface LanguageModel {
  readonly info: ModelInfo;
  /** Continue a chat: renders `messages` with the model's own template and streams the reply. */
  chat(messages: readonly ChatMessage[], params?: ChatParams): Generation;
  /** Continue a text, or a list of token ids, as it is. */
  generate(prompt: string | readonly number[], params?: GenerateParams): Generation;
  /** Token ids of a text; special tokens in it are recognised. */
  tokenize(text: string): Promise<number[]>;
  detokenize(ids: readonly number[]): Promise<string>;
  /** The prompt that `chat` makes of the messages. */
  render(messages: readonly ChatMessage[], params?: RenderParams): Promise<string>;
  /** How likely each token of a text is after those before it; the first has no probability and is left out. */
  score(ids: readonly number[], params?: ScoreParams): Promise<ScoredToken[]>;
  /** How much is going on, and counts since the model was loaded. */
  stats(): Promise<ModelStats>;
  /** Forget the state that is kept of earlier prompts. */
  clearCache(): Promise<void>;
  /** Free the device; replies under way end with an error. */
  dispose(): Promise<void>;
}
