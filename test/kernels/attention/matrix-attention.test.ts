import { describe, expect, test } from "vitest";
import { expectClose } from "../../support/compare.ts";
import { hasMatrices, MATRICES, matrixShape } from "../../support/matrices.ts";
import { type AttentionCase, runAttention, shapeOf } from "./attention-case.ts";

const isSmall = (await matrixShape())?.m === 8;

const small = shapeOf(4, 2, 64);

/** Attends on an f16 cache, and says by which kernels. */
async function attend(c: AttentionCase) {
  const run = await runAttention({ options: MATRICES, format: "f16", ...c });
  await run.harness.run();
  const actual = (await run.harness.read(run.y)).subarray(0, run.rows * run.expected.columns);
  const kernels = run.harness.recorder.dispatches.map((d) => d.kernel).slice(1);
  run.harness.dispose();
  return { actual, expected: run.expected, kernels };
}

// Large plans fill a GPU with tiles; in small ones, ranges of keys run side by side, and have to be joined. Which are large
// depends on the matrices: these are for 8 × 8.
const plans: readonly [string, Pick<AttentionCase, "kind" | "maxTokens">, readonly string[]][] = [
  ["tiles", { kind: "prefill", maxTokens: 1100 }, ["matrix-attention"]],
  ["tiles and ranges", { kind: "prefill", maxTokens: 160 }, ["matrix-attention-ranges", "merge-attention"]],
  ["many ranges", { kind: "prefill", maxTokens: 40 }, ["matrix-attention-ranges", "merge-ranges"]],
  ["single tokens", { kind: "decode" }, ["matrix-attention-ranges", "merge-ranges"]],
];

describe.skipIf(!(await hasMatrices())).each(plans)("attention by matrices: %s", (_, plan, kernels) => {
  const isDecode = plan.kind === "decode";
  const fits = (count: number) => isDecode || count <= plan.maxTokens!;
  const tokens = (position: number, count: number) =>
    isDecode ? { position: position + count - 1, count: 1 } : { position, count };

  test.each(
    [
      [0, 17],
      [1, 63],
      [20, 33],
      [200, 40],
      [0, 130],
      [900, 40],
    ].filter(([, count]) => fits(count)),
  )("from token %i on %i", async (position, count) => {
    const run = await attend({ ...plan, shape: small, sequences: [tokens(position, count)] });
    if (isSmall) expect(run.kernels).toEqual(kernels);
    else expect(run.kernels[0]).toMatch(/^matrix-attention/);
    // Queries, keys, values and shares are rounded to 11 bits.
    expectClose(run.actual, run.expected.data, 1e-3, "attention");
  });

  test.each([
    [1, 1, 32],
    [6, 2, 96],
    [16, 1, 32],
  ])("%i query heads, %i key-value heads of %i", async (queryHeads, keyValueHeads, headDim) => {
    const shape = shapeOf(queryHeads, keyValueHeads, headDim);
    const { actual, expected } = await attend({ ...plan, shape, sequences: [tokens(20, 33)] });
    expectClose(actual, expected.data, 1e-3, "attention");
  });

  test("three sequences", async () => {
    const sequences = [tokens(7, 1), tokens(0, 11), tokens(300, 21)];
    const { actual, expected } = await attend({ ...plan, shape: small, sequences });
    expectClose(actual, expected.data, 1e-3, "attention");
  });

  test("sums are scaled where scores grow", async () => {
    const sequences = [tokens(200, 40)];
    const { actual, expected } = await attend({ ...plan, shape: small, sharpness: 16, sequences });
    expectClose(actual, expected.data, 5e-3, "attention");
  });

  test("keys beyond f16", async () => {
    const { actual } = await attend({ ...plan, shape: small, sharpness: 1e6, sequences: [tokens(50, 40)] });
    expect(actual.every(Number.isFinite)).toBe(true);
  });

  test("rows of sequences that have ended", async () => {
    const sequences = [5, 80, 33].map((position) => ({ position, count: 1 }));
    const { actual, expected } = await attend({ ...plan, shape: small, sequences, inactive: [1] });
    const { columns, data } = expected;
    expect([...actual.subarray(columns, 2 * columns)]).toEqual(Array(columns).fill(0));
    expectClose(actual.subarray(0, columns), data.subarray(0, columns), 1e-3);
    expectClose(actual.subarray(2 * columns), data.subarray(2 * columns), 1e-3);
  });
});

describe.skipIf(!(await hasMatrices()))("attention by matrices: heads of Qwen3-Next 80B", () => {
  test.each([
    ["prefill", 45],
    ["decode", 1],
  ] as const)("%s", async (kind, count) => {
    const { actual, expected } = await attend({
      kind,
      shape: shapeOf(16, 2, 256),
      sequences: [{ position: 90, count }],
    });
    expectClose(actual, expected.data, 1e-3, "attention");
  });
});
