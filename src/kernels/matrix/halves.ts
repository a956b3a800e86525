import bf16 from "../../../shaders/matrix/halves-bf16.wgsl?raw";
import f16 from "../../../shaders/matrix/halves-f16.wgsl?raw";
import f32 from "../../../shaders/matrix/halves-f32.wgsl?raw";
import q4 from "../../../shaders/matrix/halves-q4.wgsl?raw";
import q4a from "../../../shaders/matrix/halves-q4a.wgsl?raw";
import q8 from "../../../shaders/matrix/halves-q8.wgsl?raw";
import pack from "../../../shaders/matrix/pack-halves.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import type { WeightFormat } from "../../weights/format.ts";
import { batchFragment } from "../lib/batch.ts";
import { reduce } from "../lib/reduce.ts";

/**
 * Reads a weight of the given format for products of matrices: `halves8(fetch8(i))` gives elements 8i … 8i + 7 of the
 * row-major matrix as eight f16. Bound as `weight` at 6 (and `weightScales` at 7).
 */
export const halfFragments: Readonly<Record<WeightFormat, Fragment>> = {
  f32: { name: "halves-f32", source: f32 },
  f16: { name: "halves-f16", source: f16 },
  bf16: { name: "halves-bf16", source: bf16 },
  q8: { name: "halves-q8", source: q8 },
  q4: { name: "halves-q4", source: q4 },
  q4a: { name: "halves-q4a", source: q4a },
};

/** Rows as f16, each with a scale of its own. Grid: [GRID_X, ⌈rows / GRID_X⌉]. */
export const packHalvesKernel = defineKernel({
  name: "pack-halves",
  source: pack,
  uses: [batchFragment, reduce],
  buffers: ["x", "halves", "scales", "batch"],
  constants: ["WORKGROUP", "COLUMNS", "GRID_X", "ROWS_PER_TOKEN"],
});
