import {
  GREEDY as ANY_GREEDY,
  allBlocks,
  type ResolvedSampling,
  type Runner,
  type Sampled,
} from "../../src/engine/runner.ts";

/** 24 of the likeliest tokens. */
export const GREEDY: ResolvedSampling = { ...ANY_GREEDY, maxTokens: 24 };

export interface GreedyOptions {
  /** Lengths of the prompt at which a step ends, ascending; one also ends where the runner takes no more. */
  readonly cuts?: readonly number[];
  readonly maxTokens?: number;
}

/** What a runner gives greedily after a prompt, without an engine. */
export async function greedyReply(
  runner: Runner,
  prompt: readonly number[],
  { cuts = [], maxTokens = GREEDY.maxTokens }: GreedyOptions = {},
): Promise<number[]> {
  runner.setSampling(0, { ...GREEDY, maxTokens }, prompt);
  const blocks = allBlocks(runner);
  let sampled: Sampled | undefined;
  for (let position = 0; position < prompt.length; ) {
    const cut = cuts.find((length) => length > position) ?? prompt.length;
    const end = Math.min(cut, position + runner.limits.maxBatchTokens);
    const step = { tokens: prompt.slice(position, end), position, slot: 0, blocks, sample: end === prompt.length };
    [sampled] = await runner.prefill([step]);
    position = end;
  }
  const reply: number[] = [];
  while (sampled) {
    reply.push(sampled.token);
    [sampled] = await runner.decode([{ slot: 0, position: prompt.length + reply.length - 1, blocks }]);
  }
  return reply;
}
