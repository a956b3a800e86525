import { describe, expect, test } from "vitest";
import { embed, gatedRmsNorm, lastRows, mixExperts, swiGlu } from "../../../src/ops/gpu/dense.ts";
import { sigmoid, silu } from "../../../src/reference/activation.ts";
import { hostTensor } from "../../../src/reference/host-tensor.ts";
import * as reference from "../../../src/reference/norm.ts";
import { expectClose } from "../../support/compare.ts";
import { KernelHarness } from "../../support/kernel-harness.ts";
import { normals } from "../../support/random.ts";
import { FORMATS, makeWeight, TIERS, writeRows } from "./dense-cases.ts";

describe.each(FORMATS)("embed %s", (format) => {
  test.each([
    { rows: [1], columns: 32 },
    { rows: [3, 1], columns: 96 },
    { rows: [65], columns: 2048 },
  ])("$rows × $columns", async ({ rows, columns }) => {
    const vocabulary = 101;
    const harness = await KernelHarness.create();
    const tokens = writeRows(harness, rows, vocabulary);
    const { encoded, values } = makeWeight(format, vocabulary, columns, 1);
    const batch = { maxTokens: tokens.length + 5, maxSequences: 4, kind: "prefill" } as const;
    const y = harness.output(embed(harness.context, harness.weight("table", encoded), batch));
    await harness.run();
    const actual = await harness.read(y);
    tokens.forEach((token, row) => {
      const expected = values.subarray(token * columns, (token + 1) * columns);
      expectClose(actual.subarray(row * columns, (row + 1) * columns), expected, 1e-7, `row ${row}`);
    });
    expect(actual.subarray(tokens.length * columns).every(Number.isNaN), "surplus rows are left alone").toBe(true);
    harness.dispose();
  });
});

describe.each(TIERS)("gated-rms-norm with $tier", ({ without }) => {
  test.each([
    { rows: 1, heads: 1, headDim: 8 },
    { rows: 3, heads: 5, headDim: 17 },
    { rows: 65, heads: 2, headDim: 129 },
    { rows: 2, heads: 32, headDim: 128 },
    // A head of four columns for each lane: with subgroups of 4 and of 8.
    { rows: 3, heads: 13, headDim: 16 },
    { rows: 3, heads: 13, headDim: 32 },
  ])("$rows rows of $heads × $headDim", async ({ rows, heads, headDim }) => {
    const columns = heads * headDim;
    const harness = await KernelHarness.create({ without });
    writeRows(harness, [rows]);
    const wide = normals(rows * 2 * columns, 1, 3);
    const both = harness.input("x and gate", rows, 2 * columns, wide);
    const factors = normals(headDim, 2);
    const norm = { weight: harness.vector("factor", factors), eps: 1e-6 };
    const gate = { ...both, columns };
    const x = { ...both, columns, offset: columns };
    const y = harness.output(gatedRmsNorm(harness.context, x, gate, norm));
    await harness.run();
    const part = (offset: number) => hostTensor(rows, columns, takeColumns(wide, rows, 2 * columns, offset, columns));
    const weight = hostTensor(1, headDim, factors);
    const expected = reference.gatedRmsNorm(part(columns), part(0), { weight, eps: 1e-6 });
    expectClose(await harness.read(y), expected.data, 2e-6);
    harness.dispose();
  });
});

describe("swi-glu", () => {
  test.each([
    { rows: 1, columns: 1 },
    { rows: 3, columns: 17 },
    { rows: 65, columns: 129 },
  ])("$rows × $columns", async ({ rows, columns }) => {
    const harness = await KernelHarness.create();
    writeRows(harness, [rows]);
    const stride = 2 * columns + 3;
    const wide = normals(rows * stride, 1, 50);
    const x = { ...harness.input("x", rows, stride, wide), columns: 2 * columns, offset: 1 };
    const y = harness.output(swiGlu(harness.context, x));
    await harness.run();
    const gate = takeColumns(wide, rows, stride, 1, columns);
    const up = takeColumns(wide, rows, stride, 1 + columns, columns);
    expectClose(
      await harness.read(y),
      gate.map((value, i) => silu(value) * up[i]),
      2e-6,
    );
    harness.dispose();
  });
});

describe("mix-experts", () => {
  test.each([
    { rows: 1, columns: 8 },
    { rows: 65, columns: 129 },
  ])("$rows × $columns", async ({ rows, columns }) => {
    const harness = await KernelHarness.create();
    writeRows(harness, [rows]);
    const [residual, routed, shared] = [1, 2, 3].map((seed) => normals(rows * columns, seed));
    const gates = normals(rows * 3, 4);
    const y = harness.output(
      mixExperts(harness.context, {
        residual: harness.input("residual", rows, columns, residual),
        routed: harness.input("routed", rows, columns, routed),
        shared: harness.input("shared", rows, columns, shared),
        gate: { ...harness.input("gates", rows, 3, gates), columns: 1, offset: 2 },
      }),
    );
    await harness.run();
    const expected = residual.map((value, i) => {
      return value + routed[i] + sigmoid(gates[3 * Math.floor(i / columns) + 2]) * shared[i];
    });
    expectClose(await harness.read(y), expected, 2e-6);
    harness.dispose();
  });
});

test("last-rows of a batch of sequences", async () => {
  const harness = await KernelHarness.create();
  writeRows(harness, [3, 1, 60]);
  const values = normals(64 * 129, 1);
  const x = harness.input("x", 64, 129, values);
  const batch = { maxTokens: 64, maxSequences: 4, kind: "prefill" } as const;
  const y = harness.output(lastRows(harness.context, x, batch));
  await harness.run();
  const actual = await harness.read(y);
  [2, 3, 63].forEach((row, s) => {
    const expected = values.slice(row * 129, (row + 1) * 129);
    expect(actual.slice(s * 129, (s + 1) * 129), `sequence ${s}`).toEqual(expected);
  });
  expect(actual.subarray(3 * 129).every(Number.isNaN), "sequences that are not there are left alone").toBe(true);
  harness.dispose();
});

function takeColumns(wide: Float32Array, rows: number, stride: number, offset: number, columns: number) {
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    return wide[Math.floor(i / columns) * stride + offset + (i % columns)];
  });
}
