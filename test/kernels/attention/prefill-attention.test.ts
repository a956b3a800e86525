import { describe, expect, test } from "vitest";
import { expectClose } from "../../support/compare.ts";
import type { HarnessOptions } from "../../support/kernel-harness.ts";
import { type AttentionCase, runAttention, shapeOf } from "./attention-case.ts";

const small = shapeOf(4, 2, 64);

async function checkCase(c: Omit<AttentionCase, "kind">, limit = 5e-6) {
  const { harness, rows, y, expected } = await runAttention({ ...c, kind: "prefill" });
  await harness.run();
  expectClose((await harness.read(y)).subarray(0, rows * expected.columns), expected.data, limit, "attention");
  expect.hasAssertions();
  harness.dispose();
}

// Software adapters have kernels of their own; both kinds run there.
describe.each([{}, { serialWorkgroups: true }])("attention (prefill) without %o", (without) => {
  const check = (c: Omit<AttentionCase, "kind">, limit?: number) => checkCase(withOptions(c, without), limit);

  for (const position of [0, 1, 63, 64, 100]) {
    test.each([1, 3, 17, 63, 64, 65, 130])(`%i tokens from ${position}`, (count) =>
      check({ shape: small, sequences: [{ position, count }] }),
    );
  }
  test.each([
    [1, 1, 32],
    [2, 1, 256],
    [6, 2, 96],
    [8, 1, 256],
    [16, 2, 256],
    [16, 1, 32],
  ])("%i query heads, %i key-value heads of %i", (queryHeads, keyValueHeads, headDim) =>
    check({ shape: shapeOf(queryHeads, keyValueHeads, headDim), sequences: [{ position: 20, count: 33 }] }),
  );
  // Of heads that fill no subgroup software adapters join many ranges as well.
  test("many ranges of narrow heads", () =>
    check({ shape: shapeOf(4, 1, 32), sequences: [{ position: 290, count: 44 }] }));
  test("f16 cache", () => check({ shape: small, format: "f16", sequences: [{ position: 40, count: 50 }] }, 5e-3));
  test("two sequences side by side", () =>
    check({
      shape: small,
      sequences: [
        { position: 0, count: 37 },
        { position: 300, count: 90 },
      ],
    }));
  test("what every device offers", () =>
    check(
      {
        shape: shapeOf(8, 1, 256),
        format: "f16",
        sequences: [{ position: 70, count: 30 }],
        options: { device: "basic" },
      },
      5e-3,
    ));
  test("rows of sequences that have ended", async () => {
    const { harness, y, expected } = await runAttention({
      options: { without },
      kind: "prefill",
      shape: small,
      sequences: [5, 80, 33].map((position) => ({ position, count: 1 })),
      inactive: [1],
    });
    await harness.run();
    const actual = await harness.read(y);
    const { columns } = expected;
    expect([...actual.subarray(columns, 2 * columns)]).toEqual(Array(columns).fill(0));
    expectClose(actual.subarray(0, columns), expected.data.subarray(0, columns), 5e-6);
    expectClose(actual.subarray(2 * columns, 3 * columns), expected.data.subarray(2 * columns), 5e-6);
    harness.dispose();
  });
  test("large logits", () => check({ shape: small, sharpness: 1e3, sequences: [{ position: 50, count: 40 }] }, 1e-4));
});

const withOptions = <C extends Omit<AttentionCase, "kind">>(c: C, without: HarnessOptions["without"]): C => ({
  ...c,
  options: { without, ...c.options },
});
