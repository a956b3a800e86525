import source from "../../../shaders/dense/rms-norm.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { reduce } from "../lib/reduce.ts";

/** Normalises rows by their root mean square. Grid: [rows]. */
export const rmsNormKernel = defineKernel({
  name: "rms-norm",
  source,
  uses: [batchFragment, reduce],
  buffers: ["x", "factor", "batch", "y"],
  constants: ["WORKGROUP", "COLUMNS", "EPS"],
});
