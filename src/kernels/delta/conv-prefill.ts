import source from "../../../shaders/delta/conv-prefill.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { convTap } from "./conv-tap.ts";

/** All tokens through the convolution; the state is left to conv-store. Grid: [⌈channels / 64⌉, ⌈tokens / ROWS⌉]. */
export const convPrefillKernel = defineKernel({
  name: "conv-prefill",
  source,
  uses: [batchFragment, convTap],
  buffers: ["x", "factors", "ring", "y", "batch"],
  constants: ["CHANNELS", "TAPS", "RING", "ROWS"],
});
