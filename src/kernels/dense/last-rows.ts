import source from "../../../shaders/dense/last-rows.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";

/** Picks the last row of each sequence. Grid: [⌈columns / 64⌉, sequences]. */
export const lastRowsKernel = defineKernel({
  name: "last-rows",
  source,
  uses: [batchFragment],
  buffers: ["x", "batch", "y"],
  constants: ["COLUMNS"],
});
