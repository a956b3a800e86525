import source from "../../../shaders/delta/delta-step.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { deltaGates } from "./delta-gates.ts";

/**
 * The delta rule for one token of each sequence, in workgroups of one subgroup. Needs `lanes` of that size.
 * Grid: [slices of a head's columns, value heads, sequences].
 */
export const deltaStepKernel = defineKernel({
  name: "delta-step",
  source,
  uses: [batchFragment, deltaGates],
  buffers: ["qkv", "gates", "negA", "dtBias", "state", "y", "batch"],
  constants: ["WORKGROUP", "SLICES", "KEY_HEADS", "VALUE_HEADS", "KEY_DIM", "VALUE_DIM"],
});
