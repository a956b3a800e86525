import source from "../../../shaders/sampling/sample.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { random } from "../lib/random.ts";
import { samplingFragment } from "../lib/sampling.ts";
import { bestToken } from "./best-token.ts";
import { runningSum } from "./running-sum.ts";

/** Draws a token for each sequence from what process-logits left. Grid: [sequences]. */
export const sample = defineKernel({
  name: "sample",
  source,
  uses: [batchFragment, samplingFragment, random, bestToken, runningSum],
  buffers: ["processed", "partials", "params", "counts", "results", "maxima", "batch"],
  constants: ["VOCABULARY", "GROUPS"],
});
