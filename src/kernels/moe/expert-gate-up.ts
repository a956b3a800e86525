import source from "../../../shaders/moe/expert-gate-up.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { unroll } from "../lib/unroll.ts";
import { halves } from "./expert-halves.ts";

/**
 * First half of the routed experts for a few tokens. Needs `teamSum`, `presence` and a weight's fragment.
 * Grid: [⌈INNER / 2 · LANES / WORKGROUP⌉, TOP_K, rows].
 */
export const expertGateUp = defineKernel({
  name: "expert-gate-up",
  source: unroll(source, 1),
  uses: [batchFragment, ...halves.gateUp],
  buffers: ["x", "ids", "weight", "y", "batch"],
  constants: ["WORKGROUP", "LANES", "COLUMNS", "INNER", "TOP_K"],
});
