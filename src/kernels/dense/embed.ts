import source from "../../../shaders/dense/embed.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";

/** Looks up the batch's tokens in a weight of any format. Grid: [tokens]. */
export const embedKernel = defineKernel({
  name: "embed",
  source,
  uses: [batchFragment],
  buffers: ["weight", "batch", "y"],
  constants: ["COLUMNS"],
});
