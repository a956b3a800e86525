import source from "../../../shaders/dense/gated-rms-norm.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { activation } from "../lib/activation.ts";
import { batchFragment } from "../lib/batch.ts";
import { reduce } from "../lib/reduce.ts";

/** Normalises each head and gates it. Grid: [heads, tokens]. */
export const gatedRmsNormKernel = defineKernel({
  name: "gated-rms-norm",
  source,
  uses: [activation, batchFragment, reduce],
  buffers: ["x", "gate", "factor", "batch", "y"],
  constants: ["WORKGROUP", "HEADS", "HEAD_DIM", "EPS"],
});
