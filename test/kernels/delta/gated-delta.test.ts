import { describe, expect, test } from "vitest";
import { DeltaPair } from "./delta-pair.ts";

const shape = (keyHeads: number, valueHeads: number, dim = 32) => ({
  keyHeads,
  valueHeads,
  keyDim: dim,
  valueDim: dim,
  convTaps: 4,
});

describe.each([{}, { subgroups: true }])("gated delta, decode, without %o", (without) => {
  test.each([
    { keyHeads: 2, valueHeads: 2, dim: 16 },
    { keyHeads: 2, valueHeads: 4, dim: 32 },
    { keyHeads: 2, valueHeads: 6, dim: 32 },
    { keyHeads: 1, valueHeads: 4, dim: 64 },
    { keyHeads: 16, valueHeads: 32, dim: 128 },
  ])("$keyHeads key heads, $valueHeads value heads of $dim", async ({ keyHeads, valueHeads, dim }) => {
    const pair = await DeltaPair.create({
      shape: shape(keyHeads, valueHeads, dim),
      kind: "decode",
      maxTokens: 4,
      without,
    });
    for (let position = 0; position < 3; position++) {
      await pair.step([{ tokens: 1, position, slot: 2 }]);
    }
    await pair.step([
      { tokens: 1, position: 0, slot: 3 },
      { tokens: 1, position: 3, slot: 2 },
      { tokens: 1, position: 0, slot: 0 },
    ]);
    expect.hasAssertions();
    pair.harness.dispose();
  });
});

describe.each([
  { keyHeads: 2, valueHeads: 4, dim: 32 },
  { keyHeads: 1, valueHeads: 3, dim: 128 },
])("gated delta, prefill, $keyHeads key heads, $valueHeads value heads of $dim", ({ keyHeads, valueHeads, dim }) => {
  test.each([1, 3, 17, 31, 32, 33, 63, 64, 65, 130, 257])("%i tokens, alone and among others", async (tokens) => {
    const pair = await DeltaPair.create({ shape: shape(keyHeads, valueHeads, dim), kind: "prefill", maxTokens: 300 });
    await pair.step([{ tokens, position: 0, slot: 1 }]);
    await pair.step([
      { tokens: 5, position: 0, slot: 0 },
      { tokens, position: tokens, slot: 1 },
      { tokens: 33, position: 0, slot: 3 },
      { tokens: 1, position: 0, slot: 2 },
    ]);
    expect.hasAssertions();
    pair.harness.dispose();
  });
});
