import source from "../../../shaders/attention/solo-attention.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { unroll } from "../lib/unroll.ts";
import { kvRows } from "./kv-cache.ts";
import { splits } from "./splits.ts";

const soloAttention = (rows: number) =>
  defineKernel({
    name: `solo-attention-${rows}`,
    source: unroll(source, rows),
    uses: [batchFragment, kvRows, splits],
    buffers: ["queries", "sums", "stats", "batch", "keys", "values"],
    constants: ["WORKGROUP", "HEADS", "GROUP", "KEY_VALUE_HEADS", "HEAD_DIM", "SPLITS"],
  });

/** Attention by single subgroups, by rows (tokens × HEADS) of one. Uses a `kvRead`. Grid: [SPLITS, query heads / HEADS, tiles]. */
export const soloAttentionKernels = {
  1: soloAttention(1),
  2: soloAttention(2),
  4: soloAttention(4),
  8: soloAttention(8),
} as const;
