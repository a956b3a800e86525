import source from "../../../shaders/moe/route.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { batchFragment } from "../lib/batch.ts";
import { reduce } from "../lib/reduce.ts";

/** Picks the k largest logits of a row and weighs them by softmax. Needs `routeShare`. Grid: [rows]. */
export const routeKernel = defineKernel({
  name: "route",
  source,
  uses: [batchFragment, reduce],
  buffers: ["logits", "ids", "weights", "batch"],
  constants: ["WORKGROUP", "EXPERTS", "TOP_K", "IDS_AT"],
});

/** Logits that each of `threads` keeps; arrays in registers have sizes that are `const`. */
export const routeShare = (experts: number, threads: number): Fragment => ({
  name: "route-share",
  source: `const SHARE = ${Math.ceil(experts / threads)}u;`,
});
