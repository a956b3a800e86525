import source from "../../../shaders/weights/synthesize.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { random } from "../lib/random.ts";

/** Fills a buffer with random weights. Grid: any. */
export const synthesize = defineKernel({
  name: "synthesize",
  source,
  uses: [random],
  buffers: ["words"],
  constants: ["KIND", "SEED", "AMPLITUDE"],
});
