import source from "../../../shaders/moe/expert-down.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { unroll } from "../lib/unroll.ts";
import { halves } from "./expert-halves.ts";

/**
 * Second half of the routed experts for a few tokens. Needs `teamSum`, `presence` and a weight's fragment.
 * Grid: [⌈COLUMNS / 4 · LANES / WORKGROUP⌉, rows].
 */
export const expertDown = defineKernel({
  name: "expert-down",
  source: unroll(source, 1),
  uses: [batchFragment, ...halves.down],
  buffers: ["hidden", "ids", "routing", "weight", "y", "batch"],
  constants: ["WORKGROUP", "LANES", "COLUMNS", "INNER", "TOP_K"],
});
