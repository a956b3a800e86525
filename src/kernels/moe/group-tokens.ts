import source from "../../../shaders/moe/group-tokens.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";

/** Orders (token, slot) pairs by expert and lists the tiles of the grouped products. Grid: [EXPERTS]. */
export const groupTokens = defineKernel({
  name: "group-tokens",
  source,
  uses: [batchFragment],
  buffers: ["ids", "pairs", "tiles", "batch"],
  constants: ["WORKGROUP", "EXPERTS", "TOP_K", "ROWS", "TILES"],
});
