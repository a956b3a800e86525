import source from "../../../shaders/sampling/process-logits.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { samplingFragment } from "../lib/sampling.ts";
import { bestToken } from "./best-token.ts";

/** Mask, bias, penalties and temperature; `logitsPerGroup` to a workgroup. Grid: [GROUPS, sequences]. */
export const processLogits = defineKernel({
  name: "process-logits",
  source,
  uses: [batchFragment, samplingFragment, bestToken],
  buffers: ["logits", "params", "counts", "bias", "processed", "partials", "maxima", "batch"],
  constants: ["VOCABULARY", "GROUPS"],
});
