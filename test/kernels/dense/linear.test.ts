import { describe, expect, test } from "vitest";
import { linear } from "../../../src/ops/gpu/linear.ts";
import { hostTensor } from "../../../src/reference/host-tensor.ts";
import { linear as reference } from "../../../src/reference/linear.ts";
import type { WeightFormat } from "../../../src/weights/format.ts";
import { expectClose } from "../../support/compare.ts";
import { testDevice } from "../../support/gpu.ts";
import { type HarnessOptions, KernelHarness } from "../../support/kernel-harness.ts";
import { normals } from "../../support/random.ts";
import { FORMATS, makeWeight, writeRows } from "./dense-cases.ts";

interface Case {
  readonly rows: number;
  readonly columns: number;
  readonly outputs: number;
  readonly plus?: boolean;
  /** Columns beside x in its tensor, left and right. */
  readonly beside?: readonly [number, number];
  /** Rows of the plan beyond those of the batch; they hold NaN. */
  readonly surplus?: number;
}

const CASES: readonly Case[] = [
  { rows: 1, columns: 32, outputs: 1 },
  { rows: 1, columns: 96, outputs: 1000, plus: true },
  { rows: 2, columns: 64, outputs: 129, beside: [8, 3], plus: true },
  { rows: 3, columns: 256, outputs: 3, beside: [4, 4] },
  { rows: 17, columns: 96, outputs: 129, plus: true },
  { rows: 63, columns: 96, outputs: 3, beside: [3, 5] },
  { rows: 65, columns: 256, outputs: 1000, beside: [4, 4], plus: true },
  { rows: 129, columns: 64, outputs: 65, surplus: 100 },
];

const DEVICES: readonly (HarnessOptions & { readonly name: string })[] = [
  { name: "this device" },
  { name: "this device without subgroups", without: { subgroups: true } },
];

/** Takes matrix-vector kernels up to 8 rows, with 32 lanes to a row. */
const WIDE: HarnessOptions = { profile: { subgroupMaxSize: 32 } };

describe.each(DEVICES)("linear on $name", (options) => {
  test.each(CASES)("q4: $rows × $columns → $outputs", (shape) => check("q4", shape, options));
  describe.each(FORMATS)("%s", (format) => {
    test.each([CASES[1], CASES[4]])("$rows × $columns → $outputs", (shape) => check(format, shape, options));
  });
  test.each(["f32", "f16", "bf16"] as const)("%s with columns of no whole group", (format) =>
    check(format, { rows: 1, columns: 8, outputs: 5 }, options),
  );
  test.each([
    { rows: 1, columns: 2048, outputs: 12288 },
    { rows: 65, columns: 4096, outputs: 2048 },
  ])("q4, one layer of the 80B model: $rows × $columns → $outputs", (shape) => check("q4", shape, options));
});

// SwiftShader, which has no f16, takes seconds to compile each for its workgroup memory.
const { device } = await testDevice();

describe.runIf(device.features.has("shader-f16"))("linear on a GPU, for many rows", () => {
  const options = { without: { serialWorkgroups: true } };
  const many = CASES.filter(({ rows }) => rows > 8);
  test.each(many)("q4: $rows × $columns → $outputs", (shape) => check("q4", shape, options));
  test.each(FORMATS)("%s", (format) => check(format, CASES[4], options));
  test("with little workgroup memory", () =>
    check("q4", CASES[6], { ...options, profile: { maxWorkgroupBytes: 16_384 } }));
  test("long rows", () => check("q4", { rows: 65, columns: 4096, outputs: 100 }, options));
  test("large tiles", () => check("q4", { rows: 250, columns: 96, outputs: 3201, plus: true }, options));
});

describe("linear on a device of wide subgroups", () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])("q8: %i × 2048 → 67", (rows) =>
    check("q8", { rows, columns: 2048, outputs: 67, plus: true }, WIDE),
  );
});

test("on a device of narrow subgroups", () =>
  check("q4", { rows: 17, columns: 64, outputs: 129, plus: true }, { profile: { subgroupMinSize: 4 } }));

test("more workgroups than one dimension of a grid holds", () =>
  check("f32", { rows: 1, columns: 8, outputs: 1000 }, { profile: { maxGrid: 12 } }));

test("an input of another width is refused", async () => {
  const harness = await KernelHarness.create();
  const x = harness.input("x", 1, 32, normals(32, 1));
  const weight = harness.weight("w", makeWeight("f32", 3, 64, 2).encoded);
  expect(() => linear(harness.context, x, weight)).toThrow(/w: 64 columns for an input of 32/);
  harness.dispose();
});

async function check(format: WeightFormat, shape: Case, options: HarnessOptions): Promise<void> {
  const { rows, columns, outputs, beside: [left, right] = [0, 0], surplus = 0 } = shape;
  const harness = await KernelHarness.create(options);
  writeRows(harness, [rows]);
  const stride = left + columns + right;
  const wide = normals((rows + surplus) * stride, 1).fill(Number.NaN, rows * stride);
  const x = { ...harness.input("x", rows + surplus, stride, wide), offset: left, columns };
  const { encoded, values } = makeWeight(format, outputs, columns, 2);
  const added = normals((rows + surplus) * outputs, 3);
  const plus = shape.plus ? harness.input("plus", rows + surplus, outputs, added) : undefined;
  const y = harness.output(linear(harness.context, x, harness.weight("w", encoded), plus));
  await harness.run();

  const input = hostTensor(rows, columns);
  for (let r = 0; r < rows; r++) {
    input.data.set(wide.subarray(r * stride + left, r * stride + left + columns), r * columns);
  }
  const expected = reference(input, hostTensor(outputs, columns, values), plus && hostTensor(rows, outputs, added));
  expectClose((await harness.read(y)).subarray(0, rows * outputs), expected.data, 2e-6);
  harness.dispose();
}
