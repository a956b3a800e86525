import source from "../../../shaders/delta/delta-recurrent.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { deltaGates } from "./delta-gates.ts";

/**
 * The delta rule over each sequence's tokens, one after the other. Needs `lanes`.
 * Grid: [⌈valueDim / 4 · LANES / 64⌉, value heads, sequences].
 */
export const deltaRecurrentKernel = defineKernel({
  name: "delta-recurrent",
  source,
  uses: [batchFragment, deltaGates],
  buffers: ["qkv", "gates", "negA", "dtBias", "state", "y", "batch"],
  constants: ["KEY_HEADS", "VALUE_HEADS", "KEY_DIM", "VALUE_DIM"],
});
