import source from "../../../shaders/moe/expert-down.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { team } from "./team.ts";

/** Second half of the routed experts for a few tokens. Needs a weight's fragment. Grid: [⌈COLUMNS / OUTPUTS⌉, rows]. */
export const expertDown = defineKernel({
  name: "expert-down",
  source,
  uses: [batchFragment, team],
  buffers: ["hidden", "ids", "routing", "weight", "y", "batch"],
  constants: ["WORKGROUP", "OUTPUTS", "COLUMNS", "INNER", "TOP_K"],
});
