import source from "../../../shaders/attention/merge-attention.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { splits } from "./splits.ts";

/** Joins what decode-attention leaves, times σ(gate). Grid: [query heads, rows]. */
export const mergeAttentionKernel = defineKernel({
  name: "merge-attention",
  source,
  uses: [batchFragment, splits],
  buffers: ["sums", "stats", "qkv", "y", "batch"],
  constants: ["QUERY_HEADS", "HEAD_DIM", "SPLITS"],
});
