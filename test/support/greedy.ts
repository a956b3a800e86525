import type { ResolvedSampling } from "../../src/engine/runner.ts";

/** The likeliest token each time, 24 of them, whatever they are. */
export const GREEDY: ResolvedSampling = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  seed: 0,
  logitBias: new Map(),
  stopIds: [],
  maxTokens: 24,
};
