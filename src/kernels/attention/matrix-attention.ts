import source from "../../../shaders/attention/matrix-attention.wgsl?raw";
import gated from "../../../shaders/attention/matrix-gated.wgsl?raw";
import ranges from "../../../shaders/attention/matrix-ranges.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { DeviceProfile } from "../../gpu/profile.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { batchFragment } from "../lib/batch.ts";
import { matrixFragment } from "../lib/matrix.ts";
import { expand } from "../lib/unroll.ts";
import { kvRows } from "./kv-cache.ts";
import { splits } from "./splits.ts";

const common = {
  uses: [matrixFragment, batchFragment, kvRows, splits],
  constants: ["TILE_TOKENS", "HEADS", "GROUP", "KEY_VALUE_HEADS", "HEAD_DIM", "SPLITS"],
} as const;

/**
 * Attention of tiles of rows (tokens times HEADS) by products of matrices, over a cache in f16. Both use `matrixRows`.
 * Grid: [SPLITS, query heads / HEADS, tiles of tokens]. The first takes one range, times σ(gate); the other leaves parts
 * for merge-attention.
 */
export const matrixAttentionKernels = {
  gated: defineKernel({
    ...common,
    name: "matrix-attention",
    source: gated,
    buffers: ["queries", "qkv", "y", "batch", "keys", "values"],
  }),
  ranges: defineKernel({
    ...common,
    name: "matrix-attention-ranges",
    source: ranges,
    buffers: ["queries", "sums", "stats", "batch", "keys", "values"],
  }),
};

/** Rows of a tile, in matrices: many tokens of a prompt, or the heads of a single one. */
export type Bands = 4 | 1;

const TEAMS = 8;

/** The kernel with a variable for each matrix that stays in registers. */
export const matrixRows = (headDim: number, bands: Bands): Fragment => ({
  name: `matrix-attention-${headDim}-${bands}`,
  source: ({ matrix, subgroupMinSize }) => {
    const { n, k } = matrix!;
    const slices = 4 / bands;
    const body = expand(source, {
      k: headDim / k / slices,
      c: slices,
      b: bands,
      s: Math.ceil(headDim / n / TEAMS),
      p: Math.ceil((2 * n * headDim) / 8 / (TEAMS * subgroupMinSize)),
    });
    return `const BANDS = ${bands}u;\n${body}`;
  },
});

/** Whether a device has matrices, and the workgroup memory, for heads of `headDim`. */
export function canMultiplyHeads(headDim: number, bands: Bands, { matrix, maxWorkgroupBytes }: DeviceProfile): boolean {
  if (!matrix || headDim % (matrix.k * (4 / bands)) > 0 || headDim % matrix.n > 0) return false;
  const rows = bands * matrix.m;
  const keys = 2 * matrix.n;
  const halves = Math.max(rows, 2 * keys) * (headDim / 8 + 1);
  const vectors = halves + (4 / bands) * rows * (keys / 4 + 1) + rows * (keys / 8 + 1);
  return vectors * 16 + rows * 4 + 16 <= maxWorkgroupBytes;
}
