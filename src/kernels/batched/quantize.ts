import merged from "../../../shaders/batched/input-merged.wgsl?raw";
import keepDigits from "../../../shaders/batched/keep-digits.wgsl?raw";
import keepFloats from "../../../shaders/batched/keep-floats.wgsl?raw";
import keepHalves from "../../../shaders/batched/keep-halves.wgsl?raw";
import source from "../../../shaders/batched/quantize.wgsl?raw";
import x8Mixed from "../../../shaders/batched/x8-mixed.wgsl?raw";
import rmsNorm from "../../../shaders/decode/input-rms-norm.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { splits } from "../attention/splits.ts";
import { batchFragment } from "../lib/batch.ts";
import { mixed } from "./experts.ts";

/** Rows as `keeping` and `keepingDigits` say. Needs `sizes`, one of `inputs`, one of `digits`. Grid: [rows]. */
export const quantizeRows = defineKernel({
  name: "batched-quantize",
  source,
  uses: [batchFragment],
  buffers: ["x", "batch"],
  constants: ["COLUMNS"],
});

/** The same of the norm of what a sparse layer leaves in `y`. */
export const mixAndQuantize = defineKernel({
  name: "batched-mix-quantize",
  source,
  uses: [batchFragment, mixed, { name: "input-mixed-rms-norm", source: `${x8Mixed}\n${rmsNorm}` }],
  buffers: ["parts", "weights", "residual", "y", "factor", "batch"],
  constants: ["COLUMNS", "EPS"],
});

/** The same of what ranges of attention come to. */
export const mergeAndQuantize = defineKernel({
  name: "batched-merge-quantize",
  source,
  uses: [batchFragment, splits, { name: "input-merged", source: merged }],
  buffers: ["sums", "stats", "qkv", "batch"],
  constants: ["COLUMNS", "HEAD_DIM", "SPLITS"],
});

/** Whether rows are kept as digits. */
export const keepingDigits = {
  yes: { name: "keep-digits", source: keepDigits },
  no: {
    name: "keep-no-digits",
    source: `
fn keepEight(index: u32, x: mat2x4<f32>, scale: f32) {
  if (index < 4u * BLOCKS) { keepRow(index, x, scale); }
}`,
  },
} as const satisfies Record<string, Fragment>;

/** What else they are kept as. */
export const keeping = {
  floats: { name: "keep-floats", source: keepFloats },
  halves: { name: "keep-halves", source: keepHalves },
  nothing: {
    name: "keep-nothing",
    source: `
fn notePeak(x: mat2x4<f32>, thread: u32, round: u32) {}
fn keepRow(index: u32, x: mat2x4<f32>, scale: f32) {}`,
  },
} as const satisfies Record<string, Fragment>;
