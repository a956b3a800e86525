import { describe, expect, test } from "vitest";
import { relativeError } from "../../support/compare.ts";
import { KernelHarness } from "../../support/kernel-harness.ts";
import { hasMatrices } from "../../support/matrices.ts";
import { normals } from "../../support/random.ts";
import { DeltaPair, type DeltaPairOptions } from "./delta-pair.ts";

const { profile } = await KernelHarness.create();

const shape = (keyHeads: number, valueHeads: number, keyDim: number, valueDim: number) => ({
  keyHeads,
  valueHeads,
  keyDim,
  valueDim,
  convTaps: 4,
});

const create = (options: Partial<DeltaPairOptions>) =>
  DeltaPair.create({
    shape: shape(1, 2, 32, 64),
    kind: "prefill",
    maxTokens: 300,
    without: { matrix: false },
    ...options,
  });

const LIMIT = 2e-3;

/** Columns of q and k, and of all, where no other shape is asked for. */
const KEYS = 64;
const CHANNELS = 192;

describe.skipIf(!(await hasMatrices()))("gated delta by products of matrices", () => {
  test("is what prompts take", async () => {
    const { harness } = await create({});
    expect(harness.recorder.dispatches.map((d) => d.kernel)).toEqual(["delta-prepare", "delta-matrix-scan"]);
    harness.dispose();
  });

  test.each([
    { keyHeads: 2, valueHeads: 4, keyDim: 32, valueDim: 64 },
    // Software takes a minute to compile each of these.
    ...(profile.specialize
      ? [
          { keyHeads: 1, valueHeads: 3, keyDim: 64, valueDim: 96 },
          { keyHeads: 2, valueHeads: 4, keyDim: 128, valueDim: 128 },
        ]
      : []),
  ])("$keyHeads key heads of $keyDim, $valueHeads value heads of $valueDim, alone and among others", async (dims) => {
    const { keyHeads, valueHeads, keyDim, valueDim } = dims;
    const pair = await create({ shape: shape(keyHeads, valueHeads, keyDim, valueDim) });
    let position = 0;
    for (const tokens of [1, 17, 64, 65, 257, 33]) {
      await pair.step([{ tokens, position, slot: 1 }], LIMIT);
      position += tokens;
    }
    await pair.step(
      [
        { tokens: 5, position: 0, slot: 0 },
        { tokens: 130, position, slot: 1 },
        { tokens: 64, position: 0, slot: 3 },
        { tokens: 1, position: 0, slot: 2 },
      ],
      LIMIT,
    );
    expect.hasAssertions();
    pair.harness.dispose();
  });

  test.each([
    { name: "strong decay", a: [5, 1] },
    { name: "no decay", a: [-30, 1] },
    { name: "some of both", a: [0, 6] },
    { name: "decay beyond all numbers", a: [1e6, 1e6] },
  ] as const)("$name", async ({ a }) => {
    const pair = await create({ a });
    for (const position of [0, 300, 600]) await pair.step([{ tokens: 300, position, slot: 0 }], LIMIT);
    expect.hasAssertions();
    pair.harness.dispose();
  });

  test.each([1e-6, 1e6, 1e12])("values of size %f", async (valueScale) => {
    const pair = await create({ valueScale });
    for (const position of [0, 100]) await pair.step([{ tokens: 100, position, slot: 0 }], LIMIT);
    expect.hasAssertions();
    pair.harness.dispose();
  });

  test.each([
    {
      name: "values that grow and shrink a millionfold",
      change: (x: number, channel: number, t: number) => (channel < KEYS ? x : x * 10 ** (6 * Math.sin(t / 40))),
    },
    {
      name: "keys and queries that are much alike",
      change: (x: number, channel: number) => (channel < KEYS ? Math.cos(channel) + 0.05 * x : x),
    },
    { name: "zeros", change: (x: number, _: number, t: number) => (t < 100 ? 0 : x) },
  ])("$name", async ({ change }) => {
    const pair = await create({ a: [-4, 1] });
    const tokens = 300;
    await pair.step([{ tokens: 40, position: 0, slot: 0 }], LIMIT);
    const gates = normals(tokens * 4, 5);
    const qkv = normals(tokens * CHANNELS, 6).map((x, i) => change(x, i % CHANNELS, Math.floor(i / CHANNELS)));
    const { actual, expected } = await pair.run([{ tokens, position: 40, slot: 0 }], { qkv, gates });
    expect(relativeError(actual, expected)).toBeLessThan(LIMIT);
    await pair.expectStates([0], LIMIT);
    pair.harness.dispose();
  });

  test("leaves the state of an inactive sequence alone", async () => {
    const pair = await create({});
    await pair.step(
      [
        { tokens: 40, position: 0, slot: 0 },
        { tokens: 40, position: 0, slot: 1 },
      ],
      LIMIT,
    );
    const size = pair.host.delta.length / 4;
    const before = pair.host.delta.slice(0, size);
    await pair.run([
      { tokens: 70, position: 40, slot: 0, isInactive: true },
      { tokens: 70, position: 40, slot: 1 },
    ]);
    pair.host.delta.set(before);
    await pair.expectStates([0, 1], LIMIT);
    expect.hasAssertions();
    pair.harness.dispose();
  });
});
