import source from "../../../shaders/decode/conv-delta.wgsl?raw";
import state from "../../../shaders/decode/conv-state.wgsl?raw";
import output from "../../../shaders/decode/delta-output.wgsl?raw";
import step from "../../../shaders/decode/delta-step.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { deltaGates } from "../delta/delta-gates.ts";
import { batchFragment } from "../lib/batch.ts";
import { expand } from "./expand.ts";

/** What the delta rule of one token of each sequence reads and writes, but for its outputs. */
export const convState: Fragment = { name: "conv-state", source: state };

const plainOutput: Fragment = { name: "delta-output", source: output };

/**
 * Convolution of four taps and delta rule, one token a sequence. Needs `sizes` LANES, TEAMS, FOURS, and `deltaColumns`.
 * Grid: [value dims / (4 · FOURS · TEAMS), heads, rows].
 */
export const convDelta = defineKernel({
  name: "decode-conv-delta",
  source: "",
  uses: [batchFragment, deltaGates, convState, plainOutput],
  buffers: ["x", "gates", "negA", "dtBias", "state", "ring", "y", "factors", "batch"],
  constants: ["KEY_HEADS", "VALUE_HEADS", "KEY_DIM", "VALUE_DIM", "RING"],
});

/** For columns of S of a subgroup, in fours, and vectors of each column of a lane. */
export const deltaColumns = (fours: number, parts: number): Fragment => ({
  name: `delta-columns-${fours}-${parts}`,
  source: expand(source.replace("$delta", step), { f: fours, p: parts }),
});
