import { describe, expect, test } from "vitest";
import { cacheRow } from "../../../src/reference/host-state.ts";
import { halfToFloat } from "../../../src/weights/half.ts";
import { expectClose } from "../../support/compare.ts";
import { type AttentionCase, gpuRow, runAttention, shapeOf } from "./attention-case.ts";

type Run = Awaited<ReturnType<typeof runAttention>>;

/** Keys of head `head` at a position of a sequence, as the GPU's cache holds them. */
async function cached(run: Run, { shape, format }: AttentionCase, buffer: "keys" | "values", at: readonly number[]) {
  const [sequence, position, head] = at;
  const bytes = await run.harness.readBuffer(run.gpuCache[buffer]);
  const start = gpuRow(shape, run.batch.sequences[sequence].blockTable, position, head) * shape.headDim;
  if (format !== "f16") return new Float32Array(bytes, start * 4, shape.headDim);
  return Float32Array.from(new Uint16Array(bytes, start * 2, shape.headDim), halfToFloat);
}

function expectedIn(run: Run, { shape }: AttentionCase, buffer: "keys" | "values", at: readonly number[]) {
  const [sequence, position, head] = at;
  const row = cacheRow(run.cache, run.batch.sequences[sequence], position) * shape.keyValueHeads + head;
  return run.cache[buffer].subarray(row * shape.headDim, (row + 1) * shape.headDim);
}

const cases: readonly (AttentionCase & { readonly name: string; readonly limit: number })[] = [
  {
    name: "f32, two sequences across a block's end",
    shape: shapeOf(4, 2, 64),
    kind: "prefill",
    sequences: [
      { position: 14, count: 5 },
      { position: 0, count: 1 },
    ],
    limit: 2e-6,
  },
  {
    name: "f16, one token far away",
    shape: shapeOf(2, 1, 256),
    format: "f16",
    kind: "decode",
    sequences: [{ position: 900, count: 1 }],
    limit: 1e-3,
  },
  {
    name: "all dimensions rotate",
    shape: shapeOf(1, 1, 32, 32),
    kind: "decode",
    sequences: [{ position: 77, count: 1 }],
    limit: 2e-6,
  },
];

describe("append-kv", () => {
  test.each(cases)("$name", async (c) => {
    const run = await runAttention(c);
    await run.harness.run();
    const { expectedQueries, rows } = run;
    const queries = await run.harness.read(run.queries);
    expectClose(queries.subarray(0, rows * expectedQueries.columns), expectedQueries.data, 2e-6, "queries");
    for (const [s, { position, count }] of c.sequences.entries()) {
      for (let p = position; p < position + count; p++) {
        for (let head = 0; head < c.shape.keyValueHeads; head++) {
          for (const buffer of ["keys", "values"] as const) {
            const at = [s, p, head];
            expectClose(await cached(run, c, buffer, at), expectedIn(run, c, buffer, at), c.limit, `${buffer} ${at}`);
          }
        }
      }
    }
    run.harness.dispose();
  });

  test("dimensions from rotaryDim on are only normalised; pairs (i, i + rotaryDim / 2) turn by the position's angle", async () => {
    const shape = shapeOf(1, 1, 64, 16);
    const run = await runAttention({ shape, kind: "decode", sequences: [{ position: 3, count: 1 }] });
    await run.harness.run();
    const x = run.qkv.subarray(0, 64);
    const scale = 1 / Math.sqrt(x.reduce((sum, v) => sum + v * v, 0) / 64 + 1e-6);
    const n = x.map((v, i) => v * scale * run.factors[0][i]);
    const y = await run.harness.read(run.queries);
    expectClose(y.subarray(16, 64), n.subarray(16), 1e-6);
    // θ = 1e7: the first pair turns by 3, the second by 3 · 1e7^(−1/8).
    for (const [i, angle] of [
      [0, 3],
      [1, 3 * 1e7 ** (-1 / 8)],
    ]) {
      expect(y[i]).toBeCloseTo(n[i] * Math.cos(angle) - n[i + 8] * Math.sin(angle), 5);
      expect(y[i + 8]).toBeCloseTo(n[i + 8] * Math.cos(angle) + n[i] * Math.sin(angle), 5);
    }
    run.harness.dispose();
  });

  test("a row of a sequence that has ended stores nothing", async () => {
    const c: AttentionCase = {
      shape: shapeOf(4, 2, 64),
      kind: "decode",
      sequences: [
        { position: 20, count: 1 },
        { position: 21, count: 1 },
      ],
      inactive: [1],
    };
    const run = await runAttention(c);
    const before = new Uint32Array(await run.harness.readBuffer(run.gpuCache.keys));
    await run.harness.run();
    const after = new Uint32Array(await run.harness.readBuffer(run.gpuCache.keys));
    const changed = after.reduce((sum, word, i) => sum + (word === before[i] ? 0 : 1), 0);
    // The keys of the other sequence.
    expect(changed).toBe(c.shape.keyValueHeads * c.shape.headDim);
    run.harness.dispose();
  });
});
