import { invariant } from "../../errors.ts";
import { soloSubgroup } from "../../gpu/profile.ts";
import type { GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import { appendKVKernel } from "../../kernels/attention/append-kv.ts";
import { decodeAttentionKernel } from "../../kernels/attention/decode-attention.ts";
import { kvRead, kvWrite } from "../../kernels/attention/kv-cache.ts";
import {
  canMultiplyHeads,
  matrixAttentionKernel,
  matrixAttentionMain,
  matrixRows,
} from "../../kernels/attention/matrix-attention.ts";
import { mergeAttentionKernel } from "../../kernels/attention/merge-attention.ts";
import { PREFILL_ROWS, prefillAttentionKernel } from "../../kernels/attention/prefill-attention.ts";
import { soloAttentionKernels } from "../../kernels/attention/solo-attention.ts";
import { SPLIT_TILE } from "../../kernels/attention/splits.ts";
import { reduceThreads } from "../../kernels/lib/reduce.ts";
import type { Batch } from "../batch.ts";
import type { AttentionShape, QueryKeyNorms } from "../ops.ts";
import type { GpuContext } from "./gpu-ops.ts";
import type { GpuKVCache } from "./state.ts";

export function appendKV(
  { recorder, batchBuffer, rope }: GpuContext,
  qkv: GpuTensor,
  { shape, query, key }: QueryKeyNorms<GpuWeight>,
  { format, keys, values }: GpuKVCache,
  _batch: Batch,
): GpuTensor {
  const { queryHeads, keyValueHeads, headDim, rotaryDim } = shape;
  checkShape(shape);
  const queries = recorder.tensor("queries", qkv.rows, queryHeads * headDim);
  appendKVKernel(recorder, {
    uses: [kvWrite[format]],
    buffers: {
      qkv,
      queryFactor: query.weight,
      keyFactor: key.weight,
      rope,
      queries,
      batch: batchBuffer,
      keys,
      values,
    },
    constants: {
      WORKGROUP: reduceThreads(recorder.profile),
      QUERY_HEADS: queryHeads,
      KEY_VALUE_HEADS: keyValueHeads,
      HEAD_DIM: headDim,
      ROTARY_DIM: rotaryDim,
      QUERY_EPS: query.eps,
      KEY_EPS: key.eps,
    },
    grid: [queryHeads + keyValueHeads, qkv.rows],
  });
  return queries;
}

export function attention(
  gpu: GpuContext,
  queries: GpuTensor,
  qkv: GpuTensor,
  shape: AttentionShape,
  cache: GpuKVCache,
  batch: Batch,
): GpuTensor {
  checkShape(shape);
  const lanes = soloSubgroup(gpu.recorder.profile);
  if (lanes && lanes >= 4 && shape.headDim % (8 * lanes) === 0) {
    return soloAttention(gpu, lanes, queries, qkv, shape, cache, batch);
  }
  const isShort = batch.kind === "decode" || queries.rows <= MAX_SINGLE_ROWS;
  if (isShort) return decodeAttention(gpu, queries, qkv, shape, cache);
  const { profile } = gpu.recorder;
  const isInMatrices = cache.format === "f16" && !profile.serialWorkgroups && canMultiplyHeads(shape.headDim, profile);
  return (isInMatrices ? matrixAttention : prefillAttention)(gpu, queries, qkv, shape, cache, batch);
}

/** Up to so many rows are not worth a tile, but rather ranges of the context side by side. */
const MAX_SINGLE_ROWS = 16;

/** Rows in tiles: a sequence's neighbours look at the same keys. */
function prefillAttention(
  { recorder, batchBuffer }: GpuContext,
  queries: GpuTensor,
  qkv: GpuTensor,
  { queryHeads, keyValueHeads, headDim }: AttentionShape,
  { format, keys, values }: GpuKVCache,
  { maxSequences }: Batch,
): GpuTensor {
  const group = queryHeads / keyValueHeads;
  const heads = largestDivisor(group, 8);
  const y = recorder.tensor("attention", queries.rows, queries.columns);
  prefillAttentionKernel(recorder, {
    uses: [kvRead[format]],
    buffers: { queries, qkv, y, batch: batchBuffer, keys, values },
    constants: {
      // 16 KiB of workgroup memory are just enough for slabs of 16 dimensions.
      SLAB: recorder.profile.maxWorkgroupBytes >= 24 * 1024 ? 32 : 16,
      HEADS: heads,
      GROUP: group,
      KEY_VALUE_HEADS: keyValueHeads,
      HEAD_DIM: headDim,
    },
    grid: [Math.floor(queries.rows / Math.floor(PREFILL_ROWS / heads)) + maxSequences, queryHeads / heads],
  });
  return y;
}

/** The same by products of matrices, on an f16 cache. */
function matrixAttention(
  { recorder, batchBuffer }: GpuContext,
  queries: GpuTensor,
  qkv: GpuTensor,
  { queryHeads, keyValueHeads, headDim }: AttentionShape,
  { keys, values }: GpuKVCache,
  { maxSequences }: Batch,
): GpuTensor {
  const group = queryHeads / keyValueHeads;
  const heads = largestDivisor(group, 8);
  const tokens = Math.floor(matrixRows(recorder.profile.matrix!) / heads);
  const y = recorder.tensor("attention", queries.rows, queries.columns);
  matrixAttentionKernel(recorder, {
    uses: [matrixAttentionMain(headDim)],
    buffers: { queries, qkv, y, batch: batchBuffer, keys, values },
    constants: { HEADS: heads, GROUP: group, KEY_VALUE_HEADS: keyValueHeads, HEAD_DIM: headDim },
    grid: [queryHeads / heads, Math.floor(queries.rows / tokens) + maxSequences],
  });
  return y;
}

/** Rows in subgroups that are workgroups: a token at a time over ranges of the context, or tiles over all of it. */
function soloAttention(
  gpu: GpuContext,
  lanes: number,
  queries: GpuTensor,
  qkv: GpuTensor,
  { queryHeads, keyValueHeads, headDim }: AttentionShape,
  { format, keys, values }: GpuKVCache,
  { kind, maxSequences }: Batch,
): GpuTensor {
  const { recorder, batchBuffer } = gpu;
  const { MAX_BLOCKS, BLOCK } = recorder.globals;
  const group = queryHeads / keyValueHeads;
  const isSingle = kind === "decode" || queries.rows === 1;
  const heads = ([4, 2, 1] as const).find((n) => group % n === 0) ?? 1;
  const tokens = isSingle ? 1 : 8 / heads;
  const tiles = isSingle ? queries.rows : Math.floor(queries.rows / tokens) + maxSequences;
  // A CPU has a few cores to fill.
  const splits = isSingle ? Math.min(8, Math.ceil((MAX_BLOCKS * BLOCK) / SPLIT_TILE)) : 1;
  const sums = recorder.tensor("attention sums", queries.rows * queryHeads * splits, headDim);
  const stats = recorder.tensor("attention stats", queries.rows * queryHeads * splits, 2);
  soloAttentionKernels[isSingle ? heads : 8](recorder, {
    uses: [kvRead[format]],
    buffers: { queries, sums, stats, batch: batchBuffer, keys, values },
    constants: {
      WORKGROUP: lanes,
      HEADS: heads,
      GROUP: group,
      KEY_VALUE_HEADS: keyValueHeads,
      HEAD_DIM: headDim,
      SPLITS: splits,
    },
    grid: [splits, queryHeads / heads, tiles],
  });
  return mergeAttention(gpu, { sums, stats, qkv }, { queryHeads, headDim, splits });
}

/** Every row by itself, its context cut into ranges that run side by side. */
function decodeAttention(
  gpu: GpuContext,
  queries: GpuTensor,
  qkv: GpuTensor,
  { queryHeads, keyValueHeads, headDim }: AttentionShape,
  { format, keys, values }: GpuKVCache,
): GpuTensor {
  const { recorder, batchBuffer } = gpu;
  const { rows } = queries;
  const { MAX_BLOCKS, BLOCK } = recorder.globals;
  const group = queryHeads / keyValueHeads;
  // Partial scores and queries of eight heads need 20 KiB of workgroup memory.
  const heads = largestDivisor(group, recorder.profile.maxWorkgroupBytes >= 20 * 1024 ? 8 : 4);
  const splits = chooseSplits((queryHeads / heads) * rows, MAX_BLOCKS * BLOCK);
  const sums = recorder.tensor("attention sums", rows * queryHeads * splits, headDim);
  const stats = recorder.tensor("attention stats", rows * queryHeads * splits, 2);
  decodeAttentionKernel(recorder, {
    uses: [kvRead[format]],
    buffers: { queries, sums, stats, batch: batchBuffer, keys, values },
    constants: { HEADS: heads, GROUP: group, KEY_VALUE_HEADS: keyValueHeads, HEAD_DIM: headDim, SPLITS: splits },
    grid: [splits, queryHeads / heads, rows],
  });
  return mergeAttention(gpu, { sums, stats, qkv }, { queryHeads, headDim, splits });
}

function mergeAttention(
  { recorder, batchBuffer }: GpuContext,
  { sums, stats, qkv }: Record<"sums" | "stats" | "qkv", GpuTensor>,
  { queryHeads, headDim, splits }: { queryHeads: number; headDim: number; splits: number },
): GpuTensor {
  const y = recorder.tensor("attention", qkv.rows, queryHeads * headDim);
  mergeAttentionKernel(recorder, {
    buffers: { sums, stats, qkv, y, batch: batchBuffer },
    constants: { QUERY_HEADS: queryHeads, HEAD_DIM: headDim, SPLITS: splits },
    grid: [queryHeads, qkv.rows],
  });
  return y;
}

/** Enough ranges to fill a large GPU beside `others` workgroups, as far as the cache can ever need them. */
function chooseSplits(others: number, capacity: number): number {
  const wanted = Math.ceil(256 / others);
  return Math.max(1, Math.min(wanted, Math.ceil(capacity / SPLIT_TILE), 64));
}

function largestDivisor(value: number, limit: number): number {
  let divisor = Math.min(value, limit);
  while (value % divisor > 0) divisor--;
  return divisor;
}

function checkShape({ queryHeads, keyValueHeads, headDim, rotaryDim }: AttentionShape): void {
  invariant(
    headDim % 32 === 0 && headDim <= 256 && rotaryDim % 2 === 0 && rotaryDim <= headDim,
    `attention heads of ${headDim} dimensions, ${rotaryDim} of them rotary`,
  );
  invariant(queryHeads % keyValueHeads === 0, `${queryHeads} query heads for ${keyValueHeads} key-value heads`);
}
