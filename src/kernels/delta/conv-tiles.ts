import source from "../../../shaders/delta/conv-tiles.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { expand } from "../lib/unroll.ts";
import { convTap } from "./conv-tap.ts";

/**
 * conv-prefill for views whose offset, stride and columns are multiples of 4.
 * Grid: [⌈channels / 4 / 64⌉, ⌈tokens / ROWS⌉ + sequences].
 */
export const convTilesKernel = defineKernel({
  name: "conv-tiles",
  source: expand(source, { i: 4 }),
  uses: [batchFragment, convTap],
  buffers: ["x", "factors", "ring", "y", "batch"],
  constants: ["CHANNELS", "TAPS", "RING", "ROWS"],
});
