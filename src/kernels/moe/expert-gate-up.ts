import source from "../../../shaders/moe/expert-gate-up.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { activation } from "../lib/activation.ts";
import { batchFragment } from "../lib/batch.ts";
import { team } from "./team.ts";

/** First half of the routed experts for a few tokens. Needs a weight's fragment. Grid: [⌈INNER / OUTPUTS⌉, TOP_K, rows]. */
export const expertGateUp = defineKernel({
  name: "expert-gate-up",
  source,
  uses: [batchFragment, activation, team],
  buffers: ["x", "ids", "weight", "hidden", "batch"],
  constants: ["WORKGROUP", "OUTPUTS", "COLUMNS", "INNER", "TOP_K"],
});
