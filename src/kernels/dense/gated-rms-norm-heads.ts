import source from "../../../shaders/dense/gated-rms-norm-heads.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { activation } from "../lib/activation.ts";
import { batchFragment } from "../lib/batch.ts";

/**
 * gated-rms-norm where four columns for each lane of a subgroup are a head, and views lie at multiples of 4.
 * Grid: [⌈columns / 4 / WORKGROUP⌉, tokens].
 */
export const gatedRmsNormHeadsKernel = defineKernel({
  name: "gated-rms-norm-heads",
  source,
  uses: [activation, batchFragment],
  buffers: ["x", "gate", "factor", "batch", "y"],
  constants: ["WORKGROUP", "HEADS", "HEAD_DIM", "EPS"],
});
