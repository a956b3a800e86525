import { describe, expect, test } from "vitest";
import { linear } from "../../../src/ops/gpu/linear.ts";
import { hostTensor } from "../../../src/reference/host-tensor.ts";
import { linear as reference } from "../../../src/reference/linear.ts";
import type { WeightFormat } from "../../../src/weights/format.ts";
import { expectClose } from "../../support/compare.ts";
import { KernelHarness } from "../../support/kernel-harness.ts";
import { hasMatrices, MATRICES } from "../../support/matrices.ts";
import { normals } from "../../support/random.ts";
import { FORMATS, makeWeight, writeRows } from "./dense-cases.ts";

interface Case {
  readonly rows: number;
  readonly columns: number;
  readonly outputs: number;
  readonly plus?: boolean;
  readonly beside?: readonly [number, number];
  readonly surplus?: number;
  /** What x is multiplied with, to leave what f16 can hold. */
  readonly size?: number;
}

const CASES: readonly Case[] = [
  { rows: 16, columns: 128, outputs: 1 },
  { rows: 17, columns: 128, outputs: 129, plus: true },
  { rows: 63, columns: 128, outputs: 3, beside: [3, 5] },
  { rows: 65, columns: 256, outputs: 1000, beside: [4, 4], plus: true },
  { rows: 129, columns: 128, outputs: 64, surplus: 100 },
  { rows: 130, columns: 128, outputs: 8300 },
  { rows: 20, columns: 128, outputs: 20, size: 1e9 },
  { rows: 20, columns: 128, outputs: 20, size: 1e-9 },
];

describe.runIf(await hasMatrices())("linear by matrices", () => {
  test.each(CASES)("$rows × $columns → $outputs, $size", (shape) => check("q4", shape));
  test.each(FORMATS)("%s", (format) => check(format, CASES[1]));
  test("long rows", () => check("q4", { rows: 17, columns: 4096, outputs: 100 }));
});

/** Both factors are rounded to 11 bits. */
const LIMIT = 6e-4;

async function check(format: WeightFormat, shape: Case): Promise<void> {
  const { rows, columns, outputs, beside: [left, right] = [0, 0], surplus = 0, size = 1 } = shape;
  const harness = await KernelHarness.create(MATRICES);
  writeRows(harness, [rows]);
  const stride = left + columns + right;
  const wide = normals((rows + surplus) * stride, 1)
    .map((v) => v * size)
    .fill(Number.NaN, rows * stride);
  const x = { ...harness.input("x", rows + surplus, stride, wide), offset: left, columns };
  const { encoded, values } = makeWeight(format, outputs, columns, 2);
  const added = normals((rows + surplus) * outputs, 3).map((v) => v * size);
  const plus = shape.plus ? harness.input("plus", rows + surplus, outputs, added) : undefined;
  const y = harness.output(linear(harness.context, x, harness.weight("w", encoded), plus));
  expect(harness.recorder.dispatches.map((d) => d.kernel)[1]).toMatch(/^matrix-linear/);
  await harness.run();

  const input = hostTensor(rows, columns);
  for (let r = 0; r < rows; r++) {
    input.data.set(wide.subarray(r * stride + left, r * stride + left + columns), r * columns);
  }
  const expected = reference(input, hostTensor(outputs, columns, values), plus && hostTensor(rows, outputs, added));
  expectClose((await harness.read(y)).subarray(0, rows * outputs), expected.data, LIMIT);
  harness.dispose();
}
