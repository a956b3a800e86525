import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { Engine, type EngineRequest } from "../../src/engine/engine.ts";
import { type GpuModelOptions, openGpuModel } from "../support/gpu-model.ts";
import { GREEDY } from "../support/greedy.ts";
import { fixtureFolder } from "../support/reference-model.ts";

const MODELS = [
  { name: "sprout in f16", folder: "demo/public/models/sprout", dtype: "f16" },
  { name: "qwen3-next-tiny", folder: fixtureFolder("qwen3-next-tiny"), dtype: "f32" },
] as const;

/** More and longer replies, for a machine that has the time. */
const IS_LONG = process.env.SLUICE_LONG !== undefined;
const SEQUENCES = IS_LONG ? 8 : 4;
const TOKENS = IS_LONG ? 20 : 8;

/** Prompts of 40 to 150 tokens, of which the first 37 are the same. */
const PROMPTS = Array.from({ length: SEQUENCES }, (_, s) =>
  Array.from({ length: 40 + Math.floor((110 * s) / (SEQUENCES - 1)) }, (_, i) =>
    i < 37 ? 3 + ((i * 29) % 200) : 3 + ((i * 31 + 17 * s) % 200),
  ),
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
    engine = await open({
      maxSequences: SEQUENCES,
      cacheTokens: 256 * SEQUENCES,
      snapshots: 3 * SEQUENCES,
      maxBatchTokens: 128,
    });
    alone = [];
    for (const prompt of PROMPTS) alone.push((await reply(engine, request(prompt))).tokens);
  }, 300_000);

  afterAll(() => {
    for (const each of engines) each.dispose();
  });

  test("are the same in a batch, cold and warm and from a branch", async () => {
    engine.clearCache();
    const cold = await Promise.all(PROMPTS.map((prompt) => reply(engine, request(prompt))));
    expect(cold.map(({ tokens }) => tokens)).toEqual(alone);
    expect(cold.every(({ cached }) => cached === 0)).toBe(true);
    // The first of a batch is read with the others waiting for the state that they share.
    engine.clearCache();
    const branch = await Promise.all(PROMPTS.map((prompt) => reply(engine, request(prompt, { boundaries: [37] }))));
    expect(branch.map(({ tokens }) => tokens)).toEqual(alone);
    expect(branch.map(({ cached }) => cached)).toEqual(PROMPTS.map((_, s) => (s === 0 ? 0 : 37)));
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

  test("are the same read in other chunks", async () => {
    const chunked = await open({
      maxSequences: SEQUENCES,
      cacheTokens: 256 * SEQUENCES,
      snapshots: 8,
      maxBatchTokens: 32,
    });
    const inChunks = await Promise.all(PROMPTS.map((prompt) => reply(chunked, request(prompt))));
    expect(inChunks.map(({ tokens }) => tokens)).toEqual(alone);
  });
});

test("a reply whose state was taken away goes on as if nothing had been", async () => {
  // Room for one of two that grow to half a context.
  const runner = await openGpuModel(MODELS[1].folder, { maxContext: 256, maxSequences: 2, maxBatchTokens: 64 });
  const engine = new Engine(runner);
  const requests = PROMPTS.slice(0, 2).map((prompt) => ({
    ...request(prompt.slice(0, 40)),
    sampling: { ...GREEDY, maxTokens: 110 },
  }));
  const alone = [];
  for (const each of requests) alone.push((await reply(engine, each)).tokens);
  // Whatever steps take: a second prompt that is read late would find the first reply at its end.
  const clock = vi.spyOn(performance, "now").mockReturnValue(0);
  const together = await Promise.all(requests.map((each) => reply(engine, each)));
  clock.mockRestore();
  expect(together.map(({ tokens }) => tokens)).toEqual(alone);
  expect(engine.stats().preempted).toBeGreaterThan(0);
  engine.dispose();
});
