import alone from "../../../shaders/decode/conv-alone.wgsl?raw";
import source from "../../../shaders/decode/conv-delta.wgsl?raw";
import together from "../../../shaders/decode/conv-together.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { deltaGates } from "../delta/delta-gates.ts";
import { batchFragment } from "../lib/batch.ts";
import { expand } from "./expand.ts";

/**
 * Convolution of four taps and delta rule, one token a sequence. Needs `sizes` LANES, TEAMS, FOURS, `deltaColumns` and one of `convolving`.
 * Grid: [value dims / (4 · FOURS · TEAMS), heads, rows].
 */
export const convDelta = defineKernel({
  name: "decode-conv-delta",
  source: "",
  uses: [batchFragment, deltaGates],
  buffers: ["x", "gates", "negA", "dtBias", "state", "ring", "y", "factors", "batch"],
  constants: ["KEY_HEADS", "VALUE_HEADS", "KEY_DIM", "VALUE_DIM", "RING"],
});

/** For columns of S of a subgroup, in fours, and vectors of each column of a lane. */
export const deltaColumns = (fours: number, parts: number): Fragment => ({
  name: `delta-columns-${fours}-${parts}`,
  source: expand(source, { f: fours, p: parts }),
});

/** Who convolves what. */
export const convolving = {
  alone: { name: "conv-alone", source: alone },
  together: { name: "conv-together", source: together },
} as const satisfies Record<string, Fragment>;
