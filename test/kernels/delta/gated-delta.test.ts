import { describe, expect, test } from "vitest";
import { expectClose } from "../../support/compare.ts";
import { DeltaPair, SLOTS } from "./delta-pair.ts";

const shape = (keyHeads: number, valueHeads: number, dim = 32) => ({
  keyHeads,
  valueHeads,
  keyDim: dim,
  valueDim: dim,
  convTaps: 4,
});

describe.each([{}, { subgroups: true }, { serialWorkgroups: false }])("gated delta, decode, without %o", (without) => {
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

test.each([
  { kind: "decode", maxTokens: 4, tokens: 1 },
  { kind: "prefill", maxTokens: 300, tokens: 40 },
] as const)("$kind leaves the state of an inactive sequence alone", async ({ kind, maxTokens, tokens }) => {
  const pair = await DeltaPair.create({ shape: shape(2, 4), kind, maxTokens });
  await pair.step([
    { tokens, position: 0, slot: 0 },
    { tokens, position: 0, slot: 1 },
  ]);
  const before = pair.host.delta.slice(0, pair.host.delta.length / SLOTS);
  await pair.run([
    { tokens, position: tokens, slot: 0, isInactive: true },
    { tokens, position: tokens, slot: 1 },
  ]);
  pair.host.delta.set(before);
  await pair.expectStates([0, 1], 1e-5);
  expect.hasAssertions();
  pair.harness.dispose();
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

describe("gated delta, long prefill", () => {
  const long = { shape: shape(2, 4), kind: "prefill", maxTokens: 300 } as const;

  test.each([
    { name: "strong decay", a: [5, 1] },
    { name: "no decay", a: [-30, 1] },
    { name: "some of both", a: [0, 6] },
  ] as const)("$name", async ({ a }) => {
    const pair = await DeltaPair.create({ ...long, a });
    await pair.step([{ tokens: 130, position: 0, slot: 0 }]);
    await pair.step([{ tokens: 65, position: 130, slot: 0 }]);
    expect.hasAssertions();
    pair.harness.dispose();
  });

  test.each([1, 2, 3, 63, 64])("may be cut after %i tokens", async (cut) => {
    const pair = await DeltaPair.create(long);
    await pair.step([{ tokens: cut, position: 0, slot: 3 }]);
    await pair.step([{ tokens: 100, position: cut, slot: 3 }]);
    expect.hasAssertions();
    pair.harness.dispose();
  });

  test("600 tokens agree with 600 steps of decode", async () => {
    const prefill = await DeltaPair.create({ ...long, a: [-3, 2] });
    const decode = await DeltaPair.create({ ...long, a: [-3, 2], kind: "decode", maxTokens: 1 });
    for (let position = 0; position < 600; position += 300) {
      const { actual, expected, tokens } = await prefill.run([{ tokens: 300, position, slot: 0 }]);
      expectClose(actual, expected, 1e-5, "prefill");
      const one = actual.length / 300;
      for (let t = 0; t < 300; t++) {
        const step = await decode.run([{ tokens: 1, position: position + t, slot: 0 }], tokens(t));
        if (t % 60 === 59) expectClose(step.actual, actual.subarray(t * one, (t + 1) * one), 1e-4, `token ${t}`);
      }
    }
    await prefill.expectStates([0], 1e-4);
    await decode.expectStates([0], 1e-4);
    prefill.harness.dispose();
    decode.harness.dispose();
  });
});
