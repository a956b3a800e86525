import source from "../../../shaders/delta/conv-decode.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { convTap } from "./conv-tap.ts";

/** One token per sequence through the convolution, state included. Grid: [⌈channels / 64⌉, tokens]. */
export const convDecodeKernel = defineKernel({
  name: "conv-decode",
  source,
  uses: [batchFragment, convTap],
  buffers: ["x", "factors", "ring", "y", "batch"],
  constants: ["CHANNELS", "TAPS", "RING"],
});
