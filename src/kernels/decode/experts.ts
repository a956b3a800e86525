import down from "../../../shaders/decode/down.wgsl?raw";
import paged from "../../../shaders/decode/experts-paged.wgsl?raw";
import resident from "../../../shaders/decode/experts-resident.wgsl?raw";
import gateUp from "../../../shaders/decode/gate-up.wgsl?raw";
import takeBest from "../../../shaders/decode/take-best.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { activation } from "../lib/activation.ts";
import { stagedDigits } from "./digits.ts";
import { expand } from "./expand.ts";
import { inputs } from "./inputs.ts";

/** Choosing the largest of many numbers by a subgroup. Needs `sizes` LANES, SHARE. */
export const best: Fragment = { name: "take-best", source: takeBest };

/** Routing, norm and the first half of the experts in 4 bits. Needs `sizes` and `digits`. Grid: [INNER / (TEAMS · PAIRS), TOP_K]. */
export const decodeGateUp = defineKernel({
  name: "decode-gate-up",
  source: gateUp,
  uses: [inputs.rmsNorm, stagedDigits, best, { name: "experts-resident", source: resident }],
  buffers: ["x", "factor", "logits", "hidden", "routing", "weight"],
  constants: ["COLUMNS", "INNER", "EXPERTS", "EPS"],
});

/** The same with experts in slots; it stops the plan where one is missing, as `locateExperts` does. */
export const decodeGateUpPaged = defineKernel({
  name: "decode-gate-up-paged",
  source: gateUp,
  uses: [inputs.rmsNorm, stagedDigits, best, { name: "experts-paged", source: paged }],
  buffers: ["x", "factor", "logits", "hidden", "routing", "weight", "table", "report", "batchState"],
  constants: ["COLUMNS", "INNER", "EXPERTS", "EPS", "LAYER", "CHOSEN_AT"],
});

/** Their second half, the shared expert's, the mix and the residual. Needs `sizes`, `digits` and `downRows`. Grid: [COLUMNS / (TEAMS · ROWS_PER_TEAM)]. */
export const decodeDown = defineKernel({
  name: "decode-down",
  source: "",
  uses: [activation, stagedDigits],
  buffers: ["hidden", "routing", "residual", "siblings", "y", "weight", "sharedWeight"],
  constants: ["COLUMNS", "INNER", "SHARED_INNER", "SHARED_AT", "GATE_AT"],
});

/** For rows of a subgroup, and blocks of a lane: of the experts, and of the shared one. */
export const downRows = (rows: number, steps: number, sharedSteps: number): Fragment => ({
  name: "down-rows",
  source: expand(down, { r: rows, i: steps, j: sharedSteps }),
});
