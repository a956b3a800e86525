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

describe("gated delta, prefill", () => {
  test.each([1, 3, 17])("%i tokens", async (tokens) => {
    const pair = await DeltaPair.create({ shape: shape(2, 4), kind: "prefill", maxTokens: 64 });
    await pair.step([{ tokens, position: 0, slot: 1 }]);
    await pair.step([
      { tokens: 5, position: 0, slot: 0 },
      { tokens, position: tokens, slot: 1 },
      { tokens: 1, position: 0, slot: 3 },
    ]);
    expect.hasAssertions();
    pair.harness.dispose();
  });
});
