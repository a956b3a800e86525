import source from "../../../shaders/moe/split-experts.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";

/** Turns chosen experts that lie here into slots, takes the weight from all others, and notes all of them. Grid: [1]. */
export const splitExperts = defineKernel({
  name: "split-experts",
  source,
  uses: [batchFragment],
  buffers: ["ids", "routing", "table", "slots", "shares", "report", "batch"],
  constants: ["WORKGROUP", "EXPERTS", "TOP_K", "LAYER", "CHOSEN_AT", "WEIGHTS_AT"],
});
