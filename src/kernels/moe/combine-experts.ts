import source from "../../../shaders/moe/combine-experts.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";

/** Weighted sum of what a token's experts gave. Grid: [⌈COLUMNS / 256⌉, rows]. */
export const combineExperts = defineKernel({
  name: "combine-experts",
  source,
  uses: [batchFragment],
  buffers: ["parts", "routing", "y", "batch"],
  constants: ["COLUMNS", "TOP_K"],
});
