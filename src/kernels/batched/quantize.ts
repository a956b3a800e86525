import keepFloats from "../../../shaders/batched/keep-floats.wgsl?raw";
import keepHalves from "../../../shaders/batched/keep-halves.wgsl?raw";
import source from "../../../shaders/batched/quantize.wgsl?raw";
import x8Mixed from "../../../shaders/batched/x8-mixed.wgsl?raw";
import rmsNorm from "../../../shaders/decode/input-rms-norm.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { batchFragment } from "../lib/batch.ts";
import { mixed } from "./experts.ts";

/** Rows as digits, and `keeping` says whether as floats or f16 too. Needs `sizes`, one of `inputs`, one of `digits`. Grid: [rows]. */
export const quantizeRows = defineKernel({
  name: "batched-quantize",
  source,
  uses: [batchFragment],
  buffers: ["x", "digits", "digitScales", "batch"],
  constants: ["COLUMNS"],
});

/** The same of the norm of what a sparse layer leaves in `y`. */
export const mixAndQuantize = defineKernel({
  name: "batched-mix-quantize",
  source,
  uses: [batchFragment, mixed, { name: "input-mixed-rms-norm", source: `${x8Mixed}\n${rmsNorm}` }],
  buffers: ["parts", "weights", "residual", "y", "factor", "digits", "digitScales", "batch"],
  constants: ["COLUMNS", "EPS"],
});

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
