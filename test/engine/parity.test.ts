import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Engine, type EngineRequest } from "../../src/engine/engine.ts";
import { type GpuModelOptions, openGpuModel } from "../support/gpu-model.ts";
import { GREEDY } from "../support/greedy.ts";
import { fixtureFolder } from "../support/reference-model.ts";

const MODELS = [
  { name: "sprout in f16", folder: "demo/public/models/sprout", dtype: "f16" },
  { name: "qwen3-next-tiny", folder: fixtureFolder("qwen3-next-tiny"), dtype: "f32" },
] as const;

const SEQUENCES = 8;
const TOKENS = 20;

/** Prompts of 40 to 150 tokens, of which the first 37 are the same. */
const PROMPTS = Array.from({ length: SEQUENCES }, (_, s) =>
  Array.from({ length: 40 + 15 * s }, (_, i) => (i < 37 ? 3 + ((i * 29) % 200) : 3 + ((i * 31 + 17 * s) % 200))),
);

const request = (prompt: readonly number[], changes: Partial<EngineRequest> = {}): EngineRequest => ({
  prompt,
  sampling: { ...GREEDY, maxTokens: TOKENS },
  ...changes,
});

async function reply(engine: Engine, asked: EngineRequest): Promise<{ tokens: number[]; cached: number }> {
  const tokens: number[] = [];
  let cached = 0;
  for await (const event of engine.generate(asked)) {
    if (event.kind === "token") tokens.push(event.sampled.token);
    else cached = event.cached;
  }
  return { tokens, cached };
}

describe.each(MODELS)("greedy replies of $name", ({ folder, dtype }) => {
  const engines: Engine[] = [];
  const open = async (options: GpuModelOptions) => {
    const runner = await openGpuModel(folder, { dtype, maxContext: 256, ...options });
    const engine = new Engine(runner);
    engines.push(engine);
    return engine;
  };
  let engine: Engine;
  let alone: number[][];

  beforeAll(async () => {
    engine = await open({ maxSequences: SEQUENCES, cacheTokens: 2048, snapshots: 24, maxBatchTokens: 128 });
    alone = [];
    for (const prompt of PROMPTS) alone.push((await reply(engine, request(prompt))).tokens);
  }, 300_000);

  afterAll(() => {
    for (const each of engines) each.dispose();
  });

  test("are the same in a batch of eight, cold and warm and from a branch", async () => {
    engine.clearCache();
    const cold = await Promise.all(PROMPTS.map((prompt) => reply(engine, request(prompt, { boundaries: [37] }))));
    expect(cold.map(({ tokens }) => tokens)).toEqual(alone);
    expect(cold.every(({ cached }) => cached === 0)).toBe(true);
    const warm = await Promise.all(PROMPTS.map((prompt) => reply(engine, request(prompt, { boundaries: [37] }))));
    expect(warm.map(({ tokens }) => tokens)).toEqual(alone);
    expect(warm.every(({ cached }) => cached === 37)).toBe(true);
    // A second turn goes on from the end of the first.
    const longer = PROMPTS.map((prompt, i) => [...prompt, ...alone[i], 5, 6, 7]);
    const second = await Promise.all(longer.map((prompt) => reply(engine, request(prompt))));
    expect(second.map(({ cached }) => cached)).toEqual(PROMPTS.map(({ length }) => length + TOKENS - 1));
    engine.clearCache();
    for (const [i, prompt] of longer.entries())
      expect((await reply(engine, request(prompt))).tokens).toEqual(second[i].tokens);
  });

  test("are the same read in other chunks, and preempted", async () => {
    const chunked = await open({ maxSequences: SEQUENCES, cacheTokens: 2048, snapshots: 8, maxBatchTokens: 32 });
    const inChunks = await Promise.all(PROMPTS.map((prompt) => reply(chunked, request(prompt))));
    expect(inChunks.map(({ tokens }) => tokens)).toEqual(alone);
    const short = await open({ maxSequences: SEQUENCES, cacheTokens: 10 * 64, snapshots: 8, maxBatchTokens: 128 });
    const shortened = await Promise.all(PROMPTS.map((prompt) => reply(short, request(prompt))));
    expect(shortened.map(({ tokens }) => tokens)).toEqual(alone);
  });
});
