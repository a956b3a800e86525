import { describe, expect, test } from "vitest";
import { expectClose } from "../../support/compare.ts";
import { hasMatrices, MATRICES } from "../../support/matrices.ts";
import { type AttentionCase, runAttention, shapeOf } from "./attention-case.ts";

const small = shapeOf(4, 2, 64);

/** Runs a prompt on an f16 cache by the kernel for matrices. */
async function attend(c: Omit<AttentionCase, "kind">) {
  const run = await runAttention({ options: MATRICES, ...c, kind: "prefill", format: "f16" });
  expect(run.harness.recorder.dispatches.map((d) => d.kernel)).toContain("matrix-attention");
  await run.harness.run();
  const actual = (await run.harness.read(run.y)).subarray(0, run.rows * run.expected.columns);
  run.harness.dispose();
  return { actual, expected: run.expected };
}

describe.skipIf(!(await hasMatrices()))("attention (prefill) by products of matrices", () => {
  test.each<[string, Pick<AttentionCase, "shape" | "sequences">]>([
    ["17 tokens", { shape: small, sequences: [{ position: 0, count: 17 }] }],
    ["130 tokens", { shape: small, sequences: [{ position: 0, count: 130 }] }],
    ["63 tokens from 1", { shape: small, sequences: [{ position: 1, count: 63 }] }],
    ["64 tokens from 64", { shape: small, sequences: [{ position: 64, count: 64 }] }],
    ["65 tokens from 900", { shape: small, sequences: [{ position: 900, count: 65 }] }],
    ["one head of 32 dimensions", { shape: shapeOf(1, 1, 32), sequences: [{ position: 20, count: 33 }] }],
    ["three heads of 96 dimensions to a key", { shape: shapeOf(6, 2, 96), sequences: [{ position: 20, count: 33 }] }],
    ["sixteen heads to a key", { shape: shapeOf(16, 1, 32), sequences: [{ position: 20, count: 33 }] }],
    ["heads of Qwen3-Next 80B", { shape: shapeOf(16, 2, 256), sequences: [{ position: 40, count: 45 }] }],
    [
      "three sequences",
      {
        shape: small,
        sequences: [
          { position: 0, count: 37 },
          { position: 300, count: 90 },
          { position: 7, count: 1 },
        ],
      },
    ],
  ])("%s", async (_, c) => {
    const { actual, expected } = await attend(c);
    // Queries, keys, values and shares are rounded to 11 bits.
    expectClose(actual, expected.data, 1e-3, "attention");
  });

  test("sums are scaled where scores grow", async () => {
    const sequences = [{ position: 200, count: 80 }];
    const { actual, expected } = await attend({ shape: small, sharpness: 16, sequences });
    expectClose(actual, expected.data, 5e-3, "attention");
  });

  test("keys beyond f16", async () => {
    const { actual } = await attend({ shape: small, sharpness: 1e6, sequences: [{ position: 50, count: 40 }] });
    expect(actual.every(Number.isFinite)).toBe(true);
  });

  test("rows of sequences that have ended", async () => {
    const sequences = [5, 80, 33].map((position) => ({ position, count: 1 }));
    const { actual, expected } = await attend({ shape: small, sequences, inactive: [1] });
    const { columns, data } = expected;
    expect([...actual.subarray(columns, 2 * columns)]).toEqual(Array(columns).fill(0));
    expectClose(actual.subarray(0, columns), data.subarray(0, columns), 2e-3);
    expectClose(actual.subarray(2 * columns), data.subarray(2 * columns), 2e-3);
  });
});
