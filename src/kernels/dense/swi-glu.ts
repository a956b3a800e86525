import source from "../../../shaders/dense/swi-glu.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { activation } from "../lib/activation.ts";
import { batchFragment } from "../lib/batch.ts";

/** Gates one half of each row with the other. Grid: [⌈columns / 64⌉, tokens]. */
export const swiGluKernel = defineKernel({
  name: "swi-glu",
  source,
  uses: [activation, batchFragment],
  buffers: ["x", "batch", "y"],
  constants: ["COLUMNS"],
});
