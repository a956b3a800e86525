import source from "../../../shaders/sampling/process-logits.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { samplingFragment } from "../lib/sampling.ts";
import { bestToken } from "./best-token.ts";

/** Bias, penalties and temperature; `logitsPerGroup` to a workgroup. Grid: [GROUPS, sequences]. */
export const processLogits = defineKernel({
  name: "process-logits",
  source,
  uses: [samplingFragment, bestToken],
  buffers: ["logits", "params", "counts", "bias", "processed", "partials", "maxima"],
  constants: ["VOCABULARY", "GROUPS"],
});
