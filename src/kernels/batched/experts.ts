import down from "../../../shaders/batched/down.wgsl?raw";
import gateUp from "../../../shaders/batched/gate-up.wgsl?raw";
import mix from "../../../shaders/batched/mix.wgsl?raw";
import route from "../../../shaders/batched/route.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { best } from "../decode/experts.ts";
import { activation } from "../lib/activation.ts";
import { batchFragment } from "../lib/batch.ts";
import { digitInput } from "./product.ts";
import { type Tile, times } from "./times.ts";

/** Each row's experts, and each expert's rows in tiles. Needs `sizes`. Grid: [1]. */
export const batchedRoute = defineKernel({
  name: "batched-route",
  source: route,
  uses: [batchFragment, best],
  buffers: ["logits", "ids", "weights", "pairs", "tiles", "batch"],
  constants: ["EXPERTS"],
});

/** The first half of the experts. Needs `sizes`, `digits`, `laneSum`, `gateUpRows`. Grid: [places / those of a workgroup, TILES]. */
export const batchedGateUp = defineKernel({
  name: "batched-gate-up",
  source: "",
  uses: [batchFragment, activation, digitInput],
  buffers: ["digits", "digitScales", "pairs", "tiles", "hidden", "weight", "batch"],
  constants: ["INNER"],
});

/** The second half, also of the shared expert. Needs `sizes`, `digits`, `laneSum`, `downRows`. Grid: [COLUMNS / (TEAMS · ROWS_PER_TEAM), TILES + ⌈ROWS / TILE⌉]. */
export const batchedDown = defineKernel({
  name: "batched-down",
  source: "",
  uses: [batchFragment, activation],
  buffers: ["hidden", "pairs", "tiles", "y", "siblings", "weight", "sharedWeight", "batch"],
  constants: ["COLUMNS", "SHARED_AT"],
});

/** All of a row's experts and the residual. Needs `sizes`. Grid: [COLUMNS / WORKGROUP, rows]. */
export const batchedMix = defineKernel({
  name: "batched-mix",
  source: mix,
  uses: [batchFragment, activation],
  buffers: ["parts", "weights", "gate", "residual", "y", "batch"],
  constants: ["COLUMNS"],
});

export const gateUpRows = (tile: Tile): Fragment => ({ name: "gate-up-rows", source: times(gateUp, tile) });
export const batchedDownRows = (tile: Tile): Fragment => ({ name: "batched-down-rows", source: times(down, tile) });
