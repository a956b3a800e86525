import { appendKV, attention } from "../../../src/ops/gpu/attention.ts";
import type { GpuKVCache } from "../../../src/ops/gpu/state.ts";
import type { AttentionShape } from "../../../src/ops/ops.ts";
import * as reference from "../../../src/reference/attention.ts";
import { hostBatch } from "../../../src/reference/host-batch.ts";
import { cacheRow, hostKVCache } from "../../../src/reference/host-state.ts";
import { hostTensor } from "../../../src/reference/host-tensor.ts";
import { batchLayout } from "../../../src/runner/batch-buffer.ts";
import { floatToHalf } from "../../../src/weights/half.ts";
import { type HarnessOptions, KernelHarness } from "../../support/kernel-harness.ts";
import { normals } from "../../support/random.ts";

export interface AttentionCase {
  readonly shape: AttentionShape;
  readonly format?: "f32" | "f16";
  readonly kind: "prefill" | "decode";
  /** Tokens in the cache, and tokens of this batch. */
  readonly sequences: readonly { readonly position: number; readonly count: number }[];
  /** Rows of the plan. The default, like that of the other limits, is the same for many cases: pipelines depend on it. */
  readonly maxTokens?: number;
  /** Deviation of keys' factors: makes logits large. */
  readonly sharpness?: number;
  /** Rows whose sequence has ended. */
  readonly inactive?: readonly number[];
  readonly options?: HarnessOptions;
}

const BLOCK = 16;
const INACTIVE = 0xffffffff;

export const shapeOf = (queryHeads: number, keyValueHeads: number, headDim: number, rotaryDim = headDim / 4) => ({
  queryHeads,
  keyValueHeads,
  headDim,
  rotaryDim,
});

/**
 * Appends and attends on the GPU and in the reference. Blocks are scattered and, beyond the tokens that came before,
 * hold NaN on the GPU, so that a read out of range shows.
 */
export async function runAttention(c: AttentionCase) {
  const { shape, format = "f32", sequences } = c;
  const { queryHeads, keyValueHeads, headDim } = shape;
  const rows = sequences.reduce((sum, s) => sum + s.count, 0);
  const maxTokens = c.maxTokens ?? (c.kind === "decode" ? 8 : 160);
  const columns = 2 * (queryHeads + keyValueHeads) * headDim;
  const blocksEach = Math.ceil(Math.max(...sequences.map((s) => s.position + s.count)) / BLOCK);
  const blocks = blocksEach * sequences.length + 3;
  const parts = sequences.map(({ position, count }, s) => ({
    position,
    slot: s,
    tokenIds: Array.from({ length: count }, () => 0),
    blockTable: Array.from({ length: blocksEach }, (_, i) => scatter(i * sequences.length + s, blocks)),
  }));
  const batch = { ...hostBatch(parts), kind: c.kind, maxTokens };
  const qkv = normals(maxTokens * columns, 1);
  qkv.fill(Number.NaN, rows * columns);
  const factors = [normals(headDim, 2), normals(headDim, 3, c.sharpness ?? 1)];
  const rope = ropeTable(shape.rotaryDim, blocksEach * BLOCK);
  const cache = hostKVCache(shape, blocks, BLOCK);
  cache.keys.set(normals(cache.keys.length, 4, c.sharpness ?? 1));
  cache.values.set(normals(cache.values.length, 5));

  const harness = await KernelHarness.create({
    ...c.options,
    limits: { maxTokens, maxSequences: 3, maxBlocks: 64, blockTokens: BLOCK, ...c.options?.limits },
  });
  const gpu = { ...harness.context, rope: harness.buffer("rope", rope) };
  harness.writeBatch(
    parts.map(({ tokenIds, blockTable, ...part }) => ({ ...part, tokens: tokenIds, blocks: blockTable })),
  );
  const { positions } = batchLayout(harness.batch.limits);
  for (const row of c.inactive ?? []) {
    harness.device.queue.writeBuffer(harness.batch.gpu!, (positions + row) * 4, new Uint32Array([INACTIVE]));
  }
  const past = (data: Float32Array) => {
    const packed = new Float32Array(data.length).fill(Number.NaN);
    batch.sequences.forEach((sequence, s) => {
      for (let p = 0; p < sequences[s].position; p++) {
        for (let head = 0; head < keyValueHeads; head++) {
          const source = (cacheRow(cache, sequence, p) * keyValueHeads + head) * headDim;
          packed.set(data.subarray(source, source + headDim), gpuRow(shape, sequence.blockTable, p, head) * headDim);
        }
      }
    });
    return format === "f32" ? packed : pack(packed);
  };
  const gpuCache: GpuKVCache = {
    kind: "kv",
    format,
    keys: harness.buffer("keys", past(cache.keys)),
    values: harness.buffer("values", past(cache.values)),
  };
  const norms = factors.map((factor, i) => ({ weight: harness.vector(`factor ${i}`, factor), eps: 1e-6 }));
  const input = harness.input("qkv", maxTokens, columns, qkv);
  const queries = harness.output(appendKV(gpu, input, { shape, query: norms[0], key: norms[1] }, gpuCache, batch));
  const y = harness.output(attention(gpu, queries, input, shape, gpuCache, batch));

  const hostQkv = hostTensor(rows, columns, qkv.subarray(0, rows * columns));
  const hostNorms = factors.map((factor) => ({ weight: hostTensor(1, headDim, factor), eps: 1e-6 }));
  const ropeRow = (p: number) => rope.subarray(p * shape.rotaryDim, (p + 1) * shape.rotaryDim);
  const expectedQueries = reference.appendKV(
    hostQkv,
    { shape, query: hostNorms[0], key: hostNorms[1] },
    cache,
    batch,
    ropeRow,
  );
  const expected = reference.attention(expectedQueries, hostQkv, shape, cache, batch);
  return { harness, batch, rows, cache, gpuCache, queries, y, qkv, factors, expectedQueries, expected };
}

/** Index of the row of `headDim` values of a head in the GPU's cache. */
export const gpuRow = ({ keyValueHeads }: AttentionShape, blocks: readonly number[], position: number, head: number) =>
  (blocks[Math.floor(position / BLOCK)] * keyValueHeads + head) * BLOCK + (position % BLOCK);

/** A permutation of 0 … count − 1 without neighbours. */
function scatter(i: number, count: number): number {
  let step = 7;
  while (gcd(step, count) > 1) step++;
  return (i * step + 2) % count;
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

function ropeTable(rotaryDim: number, positions: number): Float32Array<ArrayBuffer> {
  const table = new Float32Array(positions * rotaryDim);
  const half = rotaryDim / 2;
  for (let p = 0; p < positions; p++) {
    for (let i = 0; i < half; i++) {
      const angle = Math.fround(p * Math.fround(1e7 ** (-i / half)));
      table[p * rotaryDim + i] = Math.cos(angle);
      table[p * rotaryDim + half + i] = Math.sin(angle);
    }
  }
  return table;
}

function pack(values: Float32Array): Uint32Array<ArrayBuffer> {
  return Uint32Array.from(
    { length: values.length / 2 },
    (_, i) => floatToHalf(values[2 * i]) | (floatToHalf(values[2 * i + 1]) << 16),
  );
}
