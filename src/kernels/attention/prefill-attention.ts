import rows from "../../../shaders/attention/prefill-attention.wgsl?raw";
import gated from "../../../shaders/attention/prefill-gated.wgsl?raw";
import ranges from "../../../shaders/attention/prefill-ranges.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { kvRows } from "./kv-cache.ts";
import { splits } from "./splits.ts";

const common = {
  uses: [batchFragment, kvRows, splits, { name: "prefill-attention", source: rows }],
  constants: ["TILE_TOKENS", "SLAB", "HEADS", "GROUP", "KEY_VALUE_HEADS", "HEAD_DIM", "SPLITS"],
} as const;

/**
 * Attention of tiles of rows. Both use a `kvRead`. Grid: [SPLITS, query heads / HEADS, tiles of tokens]. The first takes one
 * range, times σ(gate); the other leaves parts for merge-attention.
 */
export const prefillAttentionKernels = {
  gated: defineKernel({
    ...common,
    name: "prefill-attention",
    source: gated,
    buffers: ["queries", "qkv", "y", "batch", "keys", "values"],
  }),
  ranges: defineKernel({
    ...common,
    name: "prefill-attention-ranges",
    source: ranges,
    buffers: ["queries", "sums", "stats", "batch", "keys", "values"],
  }),
};

/** Rows of a tile: tokens times HEADS. */
export const PREFILL_ROWS = 64;
