import source from "../../../shaders/attention/prefill-attention.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { kvRows } from "./kv-cache.ts";

/** Attention of tiles of rows, times σ(gate). Uses a `kvRead`. Grid: [tiles of tokens, query heads / HEADS]. */
export const prefillAttentionKernel = defineKernel({
  name: "prefill-attention",
  source,
  uses: [batchFragment, kvRows],
  buffers: ["queries", "qkv", "y", "batch", "keys", "values"],
  constants: ["SLAB", "HEADS", "GROUP", "KEY_VALUE_HEADS", "HEAD_DIM"],
});

/** Rows of a tile: tokens times HEADS. */
export const PREFILL_ROWS = 64;
