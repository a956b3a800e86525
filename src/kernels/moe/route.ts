import source from "../../../shaders/moe/route.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { reduce } from "../lib/reduce.ts";

/** Picks the k largest logits of a row and weighs them by softmax. Grid: [rows]. */
export const routeKernel = defineKernel({
  name: "route",
  source,
  uses: [batchFragment, reduce],
  buffers: ["logits", "ids", "weights", "batch"],
  constants: ["EXPERTS", "TOP_K"],
});
