import source from "../../../shaders/attention/decode-attention.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { kvRows } from "./kv-cache.ts";
import { splits } from "./splits.ts";

/** Attention of single rows over ranges of the cache. Uses a `kvRead`. Grid: [SPLITS, query heads / HEADS, rows]. */
export const decodeAttentionKernel = defineKernel({
  name: "decode-attention",
  source,
  uses: [batchFragment, kvRows, splits],
  buffers: ["queries", "sums", "stats", "batch", "keys", "values"],
  constants: ["HEADS", "GROUP", "KEY_VALUE_HEADS", "HEAD_DIM", "SPLITS"],
});
