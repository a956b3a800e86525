import few from "../../../shaders/attention/merge-attention.wgsl?raw";
import many from "../../../shaders/attention/merge-ranges.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { reduce } from "../lib/reduce.ts";
import { splits } from "./splits.ts";

const buffers = ["sums", "stats", "qkv", "y", "batch"] as const;
const constants = ["QUERY_HEADS", "HEAD_DIM", "SPLITS", "TILE_TOKENS"] as const;

/** Joins the ranges of other kernels one after the other, times σ(gate). Grid: [query heads, rows]. */
export const mergeAttentionKernel = defineKernel({
  name: "merge-attention",
  source: few,
  uses: [batchFragment, splits],
  buffers,
  constants,
});

/** The same for up to 256 ranges, side by side. Grid: [HEAD_DIM / MERGED_COLUMNS, query heads, rows]. */
export const mergeRangesKernel = defineKernel({
  name: "merge-ranges",
  source: many,
  uses: [batchFragment, splits, reduce],
  buffers,
  constants,
});

/** Dimensions of a workgroup. */
export const MERGED_COLUMNS = 32;
