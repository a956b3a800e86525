import source from "../../../shaders/moe/add-sums.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";

/** Adds what experts elsewhere make of the same rows. Grid: [⌈COLUMNS / 64⌉, rows]. */
export const addSums = defineKernel({
  name: "add-sums",
  source,
  uses: [batchFragment],
  buffers: ["here", "elsewhere", "y", "batch"],
  constants: ["COLUMNS"],
});
