import source from "../../../shaders/moe/expert-down.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";

/** Second half of the routed experts, a token at a time. Grid: [COLUMNS / 64, rows]. */
export const expertDown = defineKernel({
  name: "expert-down",
  source,
  uses: [batchFragment],
  buffers: ["hidden", "ids", "routing", "weight", "y", "batch"],
  constants: ["COLUMNS", "INNER", "TOP_K"],
});
