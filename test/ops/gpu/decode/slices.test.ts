import { describe, expect, test } from "vitest";
import { batchedKernels } from "../../../../src/ops/gpu/decode/batched.ts";
import { hostTensor } from "../../../../src/reference/host-tensor.ts";
import { linear as reference } from "../../../../src/reference/linear.ts";
import { makeWeight, writeRows } from "../../../kernels/dense/dense-cases.ts";
import { expectClose } from "../../../support/compare.ts";
import { KernelHarness } from "../../../support/kernel-harness.ts";
import { hasMatrices, MATRICES } from "../../../support/matrices.ts";
import { normals } from "../../../support/random.ts";

const COLUMNS = 512;

describe.runIf(await hasMatrices())("products of few rows by matrices", () => {
  test.each([
    { rows: 8, size: 1 },
    { rows: 17, size: 1e8 },
    { rows: 33, size: 1e-8 },
  ])("$rows rows, size $size", async ({ rows, size }) => {
    const harness = await KernelHarness.create(MATRICES);
    writeRows(harness, [rows]);
    const data = normals(rows * COLUMNS, 1).map((v) => v * size);
    const weights = (["q4", "bf16", "q4"] as const).map((format, i) =>
      makeWeight(format, [70, 33, 1][i], COLUMNS, i + 2),
    );
    const outputs = batchedKernels().product(
      harness.context,
      { kind: "plain", x: harness.input("x", rows, COLUMNS, data) },
      weights.map(({ encoded }, i) => harness.weight(`w${i}`, encoded)),
    );
    expect(harness.recorder.dispatches.map((d) => d.kernel)).toEqual(["batched-quantize", "batched-slices"]);
    harness.output(outputs[0]);
    await harness.run();
    for (const [i, y] of outputs.entries()) {
      const { encoded, values } = weights[i];
      const expected = reference(hostTensor(rows, COLUMNS, data), hostTensor(encoded.rows, COLUMNS, values));
      // Both factors are rounded to 11 bits.
      expectClose((await harness.read(y)).subarray(0, rows * encoded.rows), expected.data, 6e-4);
    }
    harness.dispose();
  });

  test("adds what is given", async () => {
    const rows = 9;
    const harness = await KernelHarness.create(MATRICES);
    writeRows(harness, [rows]);
    const data = normals(rows * COLUMNS, 1);
    const plus = normals(rows * 36, 2);
    const { encoded, values } = makeWeight("q4", 36, COLUMNS, 3);
    const [y] = batchedKernels().product(
      harness.context,
      { kind: "plain", x: harness.input("x", rows, COLUMNS, data) },
      [harness.weight("w", encoded)],
      harness.input("plus", rows, 36, plus),
    );
    harness.output(y);
    await harness.run();
    const expected = reference(hostTensor(rows, COLUMNS, data), hostTensor(36, COLUMNS, values));
    expectClose(
      (await harness.read(y)).subarray(0, rows * 36),
      expected.data.map((v, i) => v + plus[i]),
      6e-4,
    );
    harness.dispose();
  });
});
