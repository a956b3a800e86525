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
  stats(): Promise<EngineStats>;
  /** Forget the state that is kept of earlier prompts. */
  clearCache(): Promise<void>;
  /** Free the device; replies under way end with an error. */
  dispose(): Promise<void>;
}
