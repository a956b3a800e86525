import { generation } from "../../src/api/generation.ts";
import type { LanguageModel } from "../../src/api/llm-interface.ts";
import type { ChatMessage, ChatParams, GenerateParams, GenerationEvent, ModelInfo } from "../../src/api/types.ts";
import type { EngineStats } from "../../src/engine/engine.ts";

/** What a reply does: its events, with pauses between them where a promise is yielded. */
export type Script = (params: ChatParams) => AsyncGenerator<GenerationEvent, void, void>;

/** A model whose replies are written down beforehand, for what a real one does rarely: calls, failures, long waits. */
export class ScriptedLLM implements LanguageModel {
  script: Script;
  /** Params of the last call. */
  params: ChatParams = {};
  messages: readonly ChatMessage[] = [];
  prompt: string | readonly number[] = "";

  constructor(script: Script = () => say("Hello")) {
    this.script = script;
  }

  get info(): ModelInfo {
    return INFO;
  }

  chat(messages: readonly ChatMessage[], params: ChatParams = {}) {
    this.messages = messages;
    this.params = params;
    return generation(() => this.script(params));
  }

  generate(prompt: string | readonly number[], params: GenerateParams = {}) {
    this.prompt = prompt;
    this.params = params;
    return generation(() => this.script(params));
  }

  async tokenize(text: string) {
    return Array.from(text, (char) => char.charCodeAt(0));
  }

  async detokenize(ids: readonly number[]) {
    return String.fromCharCode(...ids);
  }

  async render(messages: readonly ChatMessage[]) {
    return messages.map(({ role, content }) => `${role}: ${content}`).join("\n");
  }

  async score() {
    return [];
  }

  async clearCache() {}

  async stats() {
    return STATS;
  }

  async dispose() {}
}

/** A reply of pieces of text, one token each. */
export async function* say(...pieces: string[]): AsyncGenerator<GenerationEvent, void, void> {
  yield { kind: "prefill", done: 0, total: 5 };
  for (const [i, text] of pieces.entries()) yield { kind: "text", text, tokenIds: [i] };
  yield finish(pieces.join(""));
}

export const finish = (
  text: string,
  more: Partial<Extract<GenerationEvent, { kind: "finish" }>> = {},
): GenerationEvent => ({
  kind: "finish",
  reason: "stop",
  text,
  tokenIds: [1],
  usage: {
    promptTokens: 5,
    cachedTokens: 2,
    completionTokens: 1,
    reasoningTokens: 0,
    timeToFirstTokenMs: 1,
    prefillTokensPerSecond: 10,
    decodeTokensPerSecond: 10,
  },
  ...more,
});

/** Waits until the caller leaves, as a model that is busy does. */
export async function* untilAborted({ signal }: ChatParams): AsyncGenerator<GenerationEvent, void, void> {
  yield { kind: "prefill", done: 0, total: 100 };
  yield { kind: "prefill", done: 64, total: 100 };
  await new Promise<void>((resolve) => signal!.addEventListener("abort", () => resolve(), { once: true }));
  yield finish("", { reason: "abort" });
}

const STATS: EngineStats = {
  running: 0,
  waiting: 0,
  waitingTokens: 0,
  preempted: 3,
  blocks: { used: 1, cached: 2, total: 4 },
  snapshots: 0,
  cachedTokens: { hit: 5, queried: 20 },
  steps: { prefill: 1, decode: 1 },
  tokens: { prompt: 1, reply: 1 },
  nanReplays: 2,
};

const INFO: ModelInfo = {
  label: "models/Scripted-1B",
  modelType: "qwen3_next",
  parameters: 1,
  layers: { delta: 3, attention: 1 },
  quantization: "auto",
  maxContext: 1000,
  maxSequences: 4,
  cacheTokens: 1024,
  maxBatchTokens: 64,
  vocabulary: 256,
  sampling: {
    temperature: 1,
    topK: 0,
    topP: 1,
    minP: 0,
    presencePenalty: 0,
    frequencyPenalty: 0,
    repetitionPenalty: 1,
  },
  adapter: { name: "none", isSoftware: true, dtype: "f32", subgroups: false },
  memory: { weights: 1, kvCache: 1, recurrentState: 1, snapshots: 1, scratch: 1, other: 1, total: 6 },
};
