import type { AttentionShape } from "../ops/ops.ts";
import { sigmoid } from "./activation.ts";
import type { HostBatch } from "./host-batch.ts";
import { cacheRow, type HostKVCache } from "./host-state.ts";
import { type HostTensor, hostTensor } from "./host-tensor.ts";
import { dot } from "./linear.ts";
import { type HostNorm, normalise } from "./norm.ts";

export interface HostQueryKeyNorms {
  readonly shape: AttentionShape;
  readonly query: HostNorm;
  readonly key: HostNorm;
}

/** A position's cosines, then its sines: rotaryDim numbers. */
export type RopeRow = (position: number) => Float32Array;

/** Normalises and rotates queries and keys, appends keys and values to the cache. → rotated queries [T, nq·hd] */
export function appendKV(
  qkv: HostTensor,
  norms: HostQueryKeyNorms,
  cache: HostKVCache,
  batch: HostBatch,
  ropeRow: RopeRow,
): HostTensor {
  const { queryHeads, keyValueHeads, headDim } = norms.shape;
  const queries = hostTensor(qkv.rows, queryHeads * headDim);
  const keysAt = 2 * queryHeads * headDim;
  const width = keyValueHeads * headDim;
  for (const sequence of batch.sequences) {
    for (let t = sequence.from; t < sequence.to; t++) {
      const position = batch.positions[t];
      const rope = ropeRow(position);
      const row = qkv.data.subarray(t * qkv.columns, (t + 1) * qkv.columns);
      const head = (from: number, norm: HostNorm) => rotate(normalise(row.subarray(from, from + headDim), norm), rope);
      for (let n = 0; n < queryHeads; n++) {
        queries.data.set(head(2 * n * headDim, norms.query), (t * queryHeads + n) * headDim);
      }
      const at = cacheRow(cache, sequence, position) * width;
      for (let n = 0; n < keyValueHeads; n++) {
        cache.keys.set(head(keysAt + n * headDim, norms.key), at + n * headDim);
      }
      cache.values.set(row.subarray(keysAt + width, keysAt + 2 * width), at);
    }
  }
  return queries;
}

/** Softmax attention of each query over positions up to its own, times σ(gate): [T, nq·hd]. */
export function attention(
  queries: HostTensor,
  qkv: HostTensor,
  shape: AttentionShape,
  cache: HostKVCache,
  batch: HostBatch,
): HostTensor {
  const { queryHeads, keyValueHeads, headDim } = shape;
  const y = hostTensor(queries.rows, queries.columns);
  const width = keyValueHeads * headDim;
  for (const sequence of batch.sequences) {
    for (let t = sequence.from; t < sequence.to; t++) {
      const rows = Array.from({ length: batch.positions[t] + 1 }, (_, p) => cacheRow(cache, sequence, p) * width);
      for (let n = 0; n < queryHeads; n++) {
        const kv = Math.floor((n * keyValueHeads) / queryHeads) * headDim;
        const query = (t * queryHeads + n) * headDim;
        const scores = rows.map((row) => dot(queries.data, query, cache.keys, row + kv, headDim) / Math.sqrt(headDim));
        const shares = softmax(scores);
        const sums = new Float64Array(headDim);
        for (let p = 0; p < rows.length; p++) {
          for (let i = 0; i < headDim; i++) sums[i] += shares[p] * cache.values[rows[p] + kv + i];
        }
        const gate = t * qkv.columns + (2 * n + 1) * headDim;
        for (let i = 0; i < headDim; i++) y.data[query + i] = sums[i] * sigmoid(qkv.data[gate + i]);
      }
    }
  }
  return y;
}

export function softmax(scores: readonly number[]): number[] {
  const max = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const shares = scores.map((score) => Math.exp(score - max));
  const sum = shares.reduce((a, b) => a + b, 0);
  return shares.map((share) => share / sum);
}

/** Turns the pairs (i, i + R/2) of the first R dimensions; the others pass. */
function rotate(x: Float64Array, rope: Float32Array): Float64Array {
  const half = rope.length / 2;
  for (let i = 0; i < half; i++) {
    const [a, b, cos, sin] = [x[i], x[i + half], rope[i], rope[i + half]];
    x[i] = a * cos - b * sin;
    x[i + half] = b * cos + a * sin;
  }
  return x;
}
