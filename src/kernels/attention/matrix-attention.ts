import source from "../../../shaders/attention/matrix-attention.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { DeviceProfile, MatrixShape } from "../../gpu/profile.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { batchFragment } from "../lib/batch.ts";
import { matrixFragment } from "../lib/matrix.ts";
import { expand } from "../lib/unroll.ts";
import { kvRows } from "./kv-cache.ts";

/**
 * Attention of tiles of `matrixRows` rows (tokens times HEADS) by products of matrices, times σ(gate), over a cache in f16.
 * Uses `matrixAttentionMain`. Grid: [query heads / HEADS, tiles of tokens].
 */
export const matrixAttentionKernel = defineKernel({
  name: "matrix-attention",
  source: "",
  uses: [matrixFragment, batchFragment, kvRows],
  buffers: ["queries", "qkv", "y", "batch", "keys", "values"],
  constants: ["HEADS", "GROUP", "KEY_VALUE_HEADS", "HEAD_DIM"],
});

const BANDS = 4;
const TEAMS = 2 * BANDS;

/** Rows of a tile. */
export const matrixRows = ({ m }: MatrixShape): number => BANDS * m;

/** The kernel itself, with a variable for each matrix that stays in registers. */
export const matrixAttentionMain = (headDim: number): Fragment => ({
  name: `matrix-attention-${headDim}`,
  source: ({ matrix, subgroupMinSize }) => {
    const { n, k } = matrix!;
    return expand(source, {
      k: headDim / k,
      b: BANDS,
      s: Math.ceil(headDim / n / TEAMS),
      p: Math.ceil((2 * n * headDim) / 8 / (TEAMS * subgroupMinSize)),
    });
  },
});

/** Whether a device has matrices and the workgroup memory for heads of `headDim`. */
export function canMultiplyHeads(headDim: number, { matrix, maxWorkgroupBytes }: DeviceProfile): boolean {
  if (!matrix || headDim % 32 > 0 || headDim > 256) return false;
  const rows = BANDS * matrix.m;
  const keys = 2 * matrix.n;
  const vectors = Math.max(rows, 2 * keys) * (headDim / 8 + 1) + rows * (keys / 4 + 1) + rows * (keys / 8 + 1);
  return vectors * 16 + rows * 4 + 16 <= maxWorkgroupBytes;
}
