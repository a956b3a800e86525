import source from "../../../shaders/delta/delta-scan.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { deltaChunk } from "./delta-chunk.ts";

/** Outputs and states from what delta-solve prepared. Grid: [valueDim / 16, value heads, sequences]. */
export const deltaScanKernel = defineKernel({
  name: "delta-scan",
  source,
  uses: [batchFragment, deltaChunk],
  buffers: ["qkv", "solved", "mixing", "state", "y", "batch"],
  constants: ["KEY_HEADS", "VALUE_HEADS", "KEY_DIM", "VALUE_DIM"],
});
