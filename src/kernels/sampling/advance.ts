import source from "../../../shaders/sampling/advance.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { samplingFragment } from "../lib/sampling.ts";

/** Turns a batch into the decode step after it. Grid: [1]. */
export const advance = defineKernel({
  name: "advance",
  source,
  uses: [samplingFragment],
  buffers: ["batchState", "results", "params"],
  constants: [],
});
