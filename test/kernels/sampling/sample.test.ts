import { describe, expect, test } from "vitest";
import type { ResolvedSampling } from "../../../src/engine/runner.ts";
import { normals, random } from "../../support/random.ts";
import { SamplingCase, sampling } from "./sampling-case.ts";

/** Draws `steps` times for sequences that differ in their seeds, and compares each draw. */
async function check(
  vocabulary: number,
  options: Partial<ResolvedSampling>,
  {
    sequences = 6,
    steps = 3,
    spread = 3,
    usable = vocabulary,
    logits = normals(sequences * vocabulary, 7, spread),
    without = {},
  } = {},
) {
  const next = random(8);
  const prompt = Array.from({ length: 40 }, () => Math.floor(next() * usable));
  const drawers = Array.from({ length: sequences }, (_, s) => ({
    sampling: sampling({ ...options, seed: s }),
    prompt,
  }));
  const drawn = await SamplingCase.create({ vocabulary, usable, drawers, logits, without });
  for (let i = 0; i < steps; i++) await drawn.check();
  // A tolerance that most draws use would hide a mistake.
  expect(drawn.moved).toBeLessThanOrEqual(1);
  drawn.dispose();
}

const SETTINGS: readonly Partial<ResolvedSampling>[] = [
  { temperature: 0 },
  {},
  { temperature: 0.3 },
  { temperature: 3 },
  { temperature: 1e-6 },
  { topK: 1 },
  { topK: 2 },
  { topK: 20 },
  { topK: 1_000_000 },
  { topP: 0 },
  { topP: 0.1 },
  { topP: 0.5 },
  { topP: 0.95 },
  { minP: 0.1 },
  { minP: 1 },
  { topK: 20, topP: 0.8, temperature: 0.7 },
  { topK: 40, topP: 0.95, minP: 0.05, temperature: 2 },
  { topK: 5, repetitionPenalty: 1.3 },
  { temperature: 0, repetitionPenalty: 1.3 },
  { temperature: 0, presencePenalty: 1.5 },
  { topK: 8, presencePenalty: -1, frequencyPenalty: 0.7, repetitionPenalty: 0.8, topP: 0.9 },
  {
    topK: 3,
    logitBias: new Map([
      [3, 100],
      [16, 99.5],
      [5, -100],
    ]),
  },
];

describe.each([17, 512, 8256])("sample from %i tokens", (vocabulary) => {
  test.each(SETTINGS)("with %o", (options) => check(vocabulary, options));
});

describe("sample as on a GPU, in workgroups of 256", () => {
  const without = { serialWorkgroups: true };
  test.each(SETTINGS)("with %o", (options) => check(8256, options, { without }));
});

describe("sample from 151936 tokens", () => {
  test.each([
    { temperature: 0 },
    {},
    { topK: 20, topP: 0.8, temperature: 0.7 },
    { topK: 1000, temperature: 2 },
    { topK: 3000 },
    { topP: 0.9 },
    { minP: 0.02, repetitionPenalty: 1.1 },
  ])("with %o", (options) => check(151936, options, { sequences: 2, steps: 2 }));
});

test.each([8256, 151936])("top-k of 20 looks at few of %i tokens", async (vocabulary) => {
  const drawers = [{ sampling: sampling({ topK: 20, topP: 0.9 }) }];
  const drawn = await SamplingCase.create({ vocabulary, drawers, logits: normals(vocabulary, 11) });
  await drawn.check();
  const [, , , considered] = new Uint32Array(await drawn.harness.readBuffer(drawn.sampler.results));
  expect(considered).toBeGreaterThanOrEqual(20);
  expect(considered).toBeLessThan(100);
  drawn.dispose();
});

describe("equal logits go by the lower id", () => {
  const steps = (vocabulary: number) => normals(4 * vocabulary, 9).map((x) => Math.round(x * 2) / 2);
  test.each([17, 512, 8256])("of %i", async (vocabulary) => {
    const logits = steps(vocabulary);
    for (const options of [{ temperature: 0 }, { topK: 1 }, { topK: 7 }, { topK: 100, topP: 0.6 }, { topP: 0.3 }]) {
      await check(vocabulary, options, { sequences: 4, logits });
    }
  });
  test("of 20000 that are all the same", async () => {
    const logits = new Float32Array(4 * 20000).fill(-2.5);
    for (const options of [{ temperature: 0 }, { topK: 20 }, { topK: 20, topP: 0.49 }, { topP: 0.50103 }, {}]) {
      await check(20000, options, { sequences: 4, logits });
    }
  });
});

describe("sample", () => {
  test("never draws padding, whatever its logits", async () => {
    const [vocabulary, usable] = [64, 10];
    const logits = normals(8 * vocabulary, 3).map((x, i) => (i % vocabulary < usable ? x : 1e4));
    for (const options of [{}, { topK: 20 }, { temperature: 0 }, { topP: 0.999, temperature: 10 }, { minP: 0.001 }]) {
      await check(vocabulary, options, { sequences: 8, usable, logits });
    }
  });

  test("draws the same with the same seed, and something else with another", async () => {
    const vocabulary = 8256;
    const row = normals(vocabulary, 5);
    const logits = new Float32Array(4 * vocabulary);
    for (let s = 0; s < 4; s++) logits.set(row, s * vocabulary);
    const drawers = [5, 5, 6, 2 ** 32 - 1].map((seed) => ({ sampling: sampling({ seed }) }));
    const drawn = await SamplingCase.create({ vocabulary, drawers, logits });
    for (let i = 0; i < 3; i++) {
      const tokens = (await drawn.step()).map((result) => result!.token);
      expect(tokens[1]).toBe(tokens[0]);
      expect(new Set(tokens).size).toBe(3);
    }
    drawn.dispose();
  });

  test("draws tokens as often as their probabilities say", async () => {
    const [vocabulary, sequences, steps] = [12, 100, 200];
    const row = normals(vocabulary, 6);
    const logits = new Float32Array(sequences * vocabulary);
    for (let s = 0; s < sequences; s++) logits.set(row, s * vocabulary);
    const drawers = Array.from({ length: sequences }, (_, s) => ({ sampling: sampling({ seed: 1000 + s }) }));
    const drawn = await SamplingCase.create({ vocabulary, drawers, logits });
    for (let i = 0; i < steps; i++) await drawn.harness.run();
    const seen = new Array<number>(vocabulary).fill(0);
    for (let s = 0; s < sequences; s++) {
      const counts = await drawn.counts(s);
      for (let id = 0; id < vocabulary; id++) seen[id] += counts[id];
    }
    const shares = [...row].map(Math.exp);
    const whole = shares.reduce((a, b) => a + b);
    const expected = shares.map((share) => (share / whole) * sequences * steps);
    const chiSquare = seen.reduce((sum, count, id) => sum + (count - expected[id]) ** 2 / expected[id], 0);
    expect(seen.reduce((a, b) => a + b)).toBe(20_000);
    // 11 degrees of freedom: 0.1 % of fair samplers exceed 31.3, and 0.1 % stay below 1.6.
    expect(chiSquare).toBeLessThan(31.3);
    expect(chiSquare).toBeGreaterThan(1.6);
    drawn.dispose();
  });

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])("flags a logit of %d", async (value) => {
    const vocabulary = 5000;
    for (const options of [{ temperature: 0 }, { topK: 20, topP: 0.9 }, { topP: 0.9, minP: 0.1 }]) {
      const logits = normals(3 * vocabulary, 4);
      logits[vocabulary + 4321] = value;
      logits.fill(value, 2 * vocabulary);
      const drawers = [1, 2, 3].map((seed) => ({ sampling: sampling({ ...options, seed }) }));
      const drawn = await SamplingCase.create({ vocabulary, drawers, logits });
      const results = await drawn.step();
      expect(results.map((result) => result!.isFinite)).toEqual([true, false, false]);
      for (const result of results) expect(result!.token).toBeLessThan(vocabulary);
      drawn.dispose();
    }
  });
});
