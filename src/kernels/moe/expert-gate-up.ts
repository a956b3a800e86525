import source from "../../../shaders/moe/expert-gate-up.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";

/** First half of the routed experts, a token at a time. Grid: [INNER / 64, TOP_K, rows]. */
export const expertGateUp = defineKernel({
  name: "expert-gate-up",
  source,
  uses: [batchFragment],
  buffers: ["x", "ids", "weight", "hidden", "batch"],
  constants: ["COLUMNS", "INNER", "TOP_K"],
});
