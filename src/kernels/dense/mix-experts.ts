import source from "../../../shaders/dense/mix-experts.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { activation } from "../lib/activation.ts";
import { batchFragment } from "../lib/batch.ts";

/** Adds what the routed experts and the gated shared expert say to the residual. Grid: [⌈columns / 64⌉, tokens]. */
export const mixExpertsKernel = defineKernel({
  name: "mix-experts",
  source,
  uses: [activation, batchFragment],
  buffers: ["residual", "routed", "sharedExpert", "gate", "batch", "y"],
  constants: ["COLUMNS"],
});
