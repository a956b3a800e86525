import { invariant } from "../../errors.ts";
import type { Kernel, KernelCall } from "../../gpu/kernel.ts";
import { soloSubgroup } from "../../gpu/profile.ts";
import type { GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import { appendKVKernel } from "../../kernels/attention/append-kv.ts";
import { decodeAttentionKernel } from "../../kernels/attention/decode-attention.ts";
import { kvRead, kvWrite } from "../../kernels/attention/kv-cache.ts";
import {
  type Bands,
  canMultiplyHeads,
  matrixAttentionKernels,
  matrixRows,
} from "../../kernels/attention/matrix-attention.ts";
import { MERGED_COLUMNS, mergeAttentionKernel, mergeRangesKernel } from "../../kernels/attention/merge-attention.ts";
import { PREFILL_ROWS, prefillAttentionKernels } from "../../kernels/attention/prefill-attention.ts";
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
  merge: typeof mergeAttention = mergeAttention,
): GpuTensor {
  checkShape(shape);
  const lanes = soloSubgroup(gpu.recorder.profile);
  if (lanes && lanes >= 4 && shape.headDim % (8 * lanes) === 0) {
    return soloAttention(gpu, lanes, queries, qkv, shape, cache, batch, merge);
  }
  const { profile } = gpu.recorder;
  const isShort = batch.kind === "decode" || queries.rows <= MAX_SINGLE_ROWS;
  const bands = isShort ? 1 : 4;
  if (cache.format === "f16" && !profile.serialWorkgroups && canMultiplyHeads(shape.headDim, bands, profile)) {
    return matrixAttention(gpu, bands, queries, qkv, shape, cache, batch, merge);
  }
  if (!isShort) return prefillAttention(gpu, queries, qkv, shape, cache, batch);
  return decodeAttention(gpu, queries, qkv, shape, cache, merge);
}

/** Up to so many rows are not worth a tile, but rather ranges of the context side by side. */
const MAX_SINGLE_ROWS = 16;

/** Rows in tiles: a sequence's neighbours look at the same keys. */
function prefillAttention(
  gpu: GpuContext,
  queries: GpuTensor,
  qkv: GpuTensor,
  { queryHeads, keyValueHeads, headDim }: AttentionShape,
  { format, keys, values }: GpuKVCache,
  { maxSequences }: Batch,
): GpuTensor {
  const { recorder } = gpu;
  const { rows } = queries;
  const group = queryHeads / keyValueHeads;
  const heads = largestDivisor(group, 8);
  const tokens = Math.floor(PREFILL_ROWS / heads);
  const { MAX_BLOCKS, BLOCK } = recorder.globals;
  const splits = chooseSplits((queryHeads / heads) * Math.ceil(rows / tokens), MAX_BLOCKS * BLOCK, 1);
  const call = {
    uses: [kvRead[format]],
    constants: {
      TILE_TOKENS: tokens,
      // 16 KiB of workgroup memory are just enough for slabs of 16 dimensions.
      SLAB: recorder.profile.maxWorkgroupBytes >= 24 * 1024 ? 32 : 16,
      HEADS: heads,
      GROUP: group,
      KEY_VALUE_HEADS: keyValueHeads,
      HEAD_DIM: headDim,
      SPLITS: splits,
    },
    grid: [splits, queryHeads / heads, Math.floor(rows / tokens) + maxSequences],
  } as const;
  const size = { queryHeads, headDim, splits, tokens };
  return inRanges(gpu, prefillAttentionKernels, call, { queries, qkv, keys, values }, size);
}

/** Rows by products of matrices, on an f16 cache: tiles of tokens or single ones, over all keys or ranges of them. */
function matrixAttention(
  gpu: GpuContext,
  bands: Bands,
  queries: GpuTensor,
  qkv: GpuTensor,
  { queryHeads, keyValueHeads, headDim }: AttentionShape,
  { keys, values }: GpuKVCache,
  { maxSequences }: Batch,
  merge: typeof mergeAttention,
): GpuTensor {
  const { recorder } = gpu;
  const { rows } = queries;
  const group = queryHeads / keyValueHeads;
  const rowsPerTile = bands * recorder.profile.matrix!.m;
  const heads = largestDivisor(group, rowsPerTile);
  const tokens = bands === 1 ? 1 : Math.floor(rowsPerTile / heads);
  const tiles = tokens === 1 ? rows : Math.floor(rows / tokens) + maxSequences;
  const { MAX_BLOCKS, BLOCK } = recorder.globals;
  const splits = chooseSplits((queryHeads / heads) * Math.ceil(rows / tokens), MAX_BLOCKS * BLOCK, bands === 1 ? 2 : 1);
  const call = {
    uses: [matrixRows(headDim, bands)],
    constants: {
      TILE_TOKENS: tokens,
      HEADS: heads,
      GROUP: group,
      KEY_VALUE_HEADS: keyValueHeads,
      HEAD_DIM: headDim,
      SPLITS: splits,
    },
    grid: [splits, queryHeads / heads, tiles],
  } as const;
  const size = { queryHeads, headDim, splits, tokens };
  return inRanges(gpu, matrixAttentionKernels, call, { queries, qkv, keys, values }, size, merge);
}

/** Attention over all keys at once, or over ranges of them that are joined. */
function inRanges<C extends string>(
  gpu: GpuContext,
  kernels: {
    readonly gated: Kernel<"queries" | "qkv" | "y" | "batch" | "keys" | "values", C>;
    readonly ranges: Kernel<"queries" | "sums" | "stats" | "batch" | "keys" | "values", C>;
  },
  call: Omit<KernelCall<string, C>, "buffers">,
  { queries, qkv, ...cache }: { queries: GpuTensor; qkv: GpuTensor } & Pick<GpuKVCache, "keys" | "values">,
  size: Omit<AttentionRanges, "sums" | "stats" | "qkv">,
  merge: typeof mergeAttention = mergeAttention,
): GpuTensor {
  const { recorder, batchBuffer: batch } = gpu;
  const { queryHeads, headDim, splits } = size;
  if (splits === 1) {
    const y = recorder.tensor("attention", queries.rows, queries.columns);
    kernels.gated(recorder, { ...call, buffers: { queries, qkv, y, batch, ...cache } });
    return y;
  }
  const sums = recorder.tensor("attention sums", queries.rows * queryHeads * splits, headDim);
  const stats = recorder.tensor("attention stats", queries.rows * queryHeads * splits, 2);
  kernels.ranges(recorder, { ...call, buffers: { queries, sums, stats, batch, ...cache } });
  return merge(gpu, { sums, stats, qkv, ...size });
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
  merge: typeof mergeAttention,
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
  return merge(gpu, { sums, stats, qkv, queryHeads, headDim, splits, tokens: 1 });
}

/** Every row by itself, its context cut into ranges that run side by side. */
function decodeAttention(
  gpu: GpuContext,
  queries: GpuTensor,
  qkv: GpuTensor,
  { queryHeads, keyValueHeads, headDim }: AttentionShape,
  { format, keys, values }: GpuKVCache,
  merge: typeof mergeAttention,
): GpuTensor {
  const { recorder, batchBuffer } = gpu;
  const { rows } = queries;
  const { MAX_BLOCKS, BLOCK } = recorder.globals;
  const group = queryHeads / keyValueHeads;
  // Partial scores and queries of eight heads need 20 KiB of workgroup memory.
  const heads = largestDivisor(group, recorder.profile.maxWorkgroupBytes >= 20 * 1024 ? 8 : 4);
  const splits = chooseSplits((queryHeads / heads) * rows, MAX_BLOCKS * BLOCK, 2);
  const sums = recorder.tensor("attention sums", rows * queryHeads * splits, headDim);
  const stats = recorder.tensor("attention stats", rows * queryHeads * splits, 2);
  decodeAttentionKernel(recorder, {
    uses: [kvRead[format]],
    buffers: { queries, sums, stats, batch: batchBuffer, keys, values },
    constants: { HEADS: heads, GROUP: group, KEY_VALUE_HEADS: keyValueHeads, HEAD_DIM: headDim, SPLITS: splits },
    grid: [splits, queryHeads / heads, rows],
  });
  return merge(gpu, { sums, stats, qkv, queryHeads, headDim, splits, tokens: 1 });
}

/** What attention leaves where several workgroups share a context: sums and stats of each range. */
export interface AttentionRanges extends Record<"sums" | "stats" | "qkv", GpuTensor> {
  readonly queryHeads: number;
  readonly headDim: number;
  readonly splits: number;
  /** Rows that share ranges. */
  readonly tokens: number;
}

/** Joins ranges, times σ(gate): [rows, query heads · headDim]. */
export function mergeAttention(
  { recorder, batchBuffer }: GpuContext,
  { sums, stats, qkv, queryHeads, headDim, splits, tokens }: AttentionRanges,
  y = recorder.tensor("attention", qkv.rows, queryHeads * headDim),
): GpuTensor {
  const call = {
    buffers: { sums, stats, qkv, y, batch: batchBuffer },
    constants: { QUERY_HEADS: queryHeads, HEAD_DIM: headDim, SPLITS: splits, TILE_TOKENS: tokens },
  };
  // To join many wants workgroups of several subgroups.
  if (splits <= FEW_SPLITS || soloSubgroup(recorder.profile))
    mergeAttentionKernel(recorder, { ...call, grid: [queryHeads, qkv.rows] });
  else mergeRangesKernel(recorder, { ...call, grid: [headDim / MERGED_COLUMNS, queryHeads, qkv.rows] });
  return y;
}

/** Up to so many ranges are joined one after the other. */
const FEW_SPLITS = 8;

/** Workgroups that run at once on a large GPU, if each fills a processor. */
const PROCESSORS = 132;

/** Ranges for `perProcessor` workgroups to a processor of a large GPU beside `others`, as far as the cache can ever need them. */
function chooseSplits(others: number, capacity: number, perProcessor: number): number {
  const wanted = Math.round((perProcessor * PROCESSORS) / others);
  return Math.max(1, Math.min(wanted, Math.ceil(capacity / SPLIT_TILE), PROCESSORS));
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
