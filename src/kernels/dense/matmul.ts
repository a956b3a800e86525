import source from "../../../shaders/dense/matmul.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";

/** x·Wᵀ for many rows. Needs `linearParts`. Grid: [⌈rows / TOKENS⌉, ⌈W's rows / (64 · OUTPUTS)⌉]. */
export const matmulKernel = defineKernel({
  name: "matmul",
  source,
  uses: [batchFragment],
  buffers: ["x", "weight", "batch", "y"],
  constants: ["COLUMNS", "ROWS", "INPUT_ROWS"],
});
