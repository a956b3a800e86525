import { describe, expect, test } from "vitest";
import { expectClose } from "../../support/compare.ts";
import type { HarnessOptions } from "../../support/kernel-harness.ts";
import { type AttentionCase, runAttention, shapeOf } from "./attention-case.ts";

const small = shapeOf(4, 2, 64);

async function checkCase(c: Omit<AttentionCase, "kind">, limit = 5e-6) {
  const { harness, rows, queries, y, expected, expectedQueries } = await runAttention({ ...c, kind: "decode" });
  await harness.run();
  const width = expected.columns;
  expectClose((await harness.read(queries)).subarray(0, rows * width), expectedQueries.data, 2e-6, "queries");
  expectClose((await harness.read(y)).subarray(0, rows * width), expected.data, limit, "attention");
  expect.hasAssertions();
  harness.dispose();
}

// Software adapters have kernels of their own; both kinds run there.
describe.each([{}, { serialWorkgroups: true }])("attention (decode) without %o", (without) => {
  const check = (c: Omit<AttentionCase, "kind">, limit?: number) => checkCase(withOptions(c, without), limit);

  test.each([1, 2, 63, 64, 65, 129, 1000])("a context of %i tokens", (length) =>
    check({ shape: small, sequences: [{ position: length - 1, count: 1 }] }),
  );
  test.each([
    [1, 1, 32],
    [2, 1, 256],
    [4, 2, 96],
    [8, 1, 256],
    [16, 2, 256],
    [16, 1, 32],
  ])("%i query heads, %i key-value heads of %i", (queryHeads, keyValueHeads, headDim) =>
    check({ shape: shapeOf(queryHeads, keyValueHeads, headDim), sequences: [{ position: 150, count: 1 }] }),
  );
  test("many ranges of narrow heads", () =>
    check({ shape: shapeOf(4, 1, 32), sequences: [{ position: 600, count: 1 }] }));
  test("f16 cache", () => check({ shape: small, format: "f16", sequences: [{ position: 200, count: 1 }] }, 5e-3));
  test("three sequences of different lengths", () =>
    check({
      shape: small,
      sequences: [
        { position: 0, count: 1 },
        { position: 299, count: 1 },
        { position: 40, count: 1 },
      ],
    }));
  test("several rows of a sequence", () =>
    check({
      shape: small,
      sequences: [
        { position: 62, count: 4 },
        { position: 7, count: 2 },
      ],
    }));
  test("what every device offers", () =>
    check(
      {
        shape: shapeOf(8, 1, 256),
        format: "f16",
        sequences: [{ position: 70, count: 1 }],
        options: { device: "basic" },
      },
      5e-3,
    ));
  test("rows of sequences that have ended", async () => {
    const { harness, y, expected } = await runAttention({
      options: { without },
      kind: "decode",
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
  test("large logits", () => check({ shape: small, sharpness: 1e3, sequences: [{ position: 200, count: 1 }] }, 1e-4));
});

const withOptions = <C extends Omit<AttentionCase, "kind">>(c: C, without: HarnessOptions["without"]): C => ({
  ...c,
  options: { without, ...c.options },
});
