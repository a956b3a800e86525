import source from "../../../shaders/decode/conv-delta.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { deltaGates } from "../delta/delta-gates.ts";
import { batchFragment } from "../lib/batch.ts";

/** Convolution of four taps and delta rule, one token a sequence. Needs `sizes` LANES, TEAMS, FOURS, PARTS. Grid: [value dims / (4 · FOURS · TEAMS), heads, rows]. */
export const convDelta = defineKernel({
  name: "decode-conv-delta",
  source,
  uses: [batchFragment, deltaGates],
  buffers: ["x", "gates", "negA", "dtBias", "state", "ring", "y", "factors", "batch"],
  constants: ["KEY_HEADS", "VALUE_HEADS", "KEY_DIM", "VALUE_DIM", "RING"],
});
