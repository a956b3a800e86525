import bf16 from "../../../shaders/lib/weight-bf16.wgsl?raw";
import f16 from "../../../shaders/lib/weight-f16.wgsl?raw";
import f32 from "../../../shaders/lib/weight-f32.wgsl?raw";
import q4 from "../../../shaders/lib/weight-q4.wgsl?raw";
import q4Unshifted from "../../../shaders/lib/weight-q4-unshifted.wgsl?raw";
import q4a from "../../../shaders/lib/weight-q4a.wgsl?raw";
import q4aUnshifted from "../../../shaders/lib/weight-q4a-unshifted.wgsl?raw";
import q8 from "../../../shaders/lib/weight-q8.wgsl?raw";
import q8Unshifted from "../../../shaders/lib/weight-q8-unshifted.wgsl?raw";
import type { Fragment } from "../../gpu/shader.ts";
import type { WeightFormat } from "../../weights/format.ts";

/**
 * Reads a weight of the given format: `weight8(i)` gives elements 8i … 8i + 7 of the row-major matrix as two vec4.
 * Bound as `weight` at 6 (and `weightScales` at 7); columns must be a multiple of 8.
 */
export const weightFragments: Readonly<Record<WeightFormat, Fragment>> = {
  f32: { name: "weight-f32", source: f32 },
  f16: { name: "weight-f16", source: f16 },
  bf16: { name: "weight-bf16", source: bf16 },
  q8: { name: "weight-q8", source: ({ serialWorkgroups }) => (serialWorkgroups ? q8Unshifted : q8) },
  q4: { name: "weight-q4", source: ({ serialWorkgroups }) => (serialWorkgroups ? q4Unshifted : q4) },
  q4a: { name: "weight-q4a", source: ({ serialWorkgroups }) => (serialWorkgroups ? q4aUnshifted : q4a) },
};
