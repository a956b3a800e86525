import source from "../../../shaders/delta/delta-solve.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { deltaChunk } from "./delta-chunk.ts";
import { deltaGates } from "./delta-gates.ts";

/** U, W, P and scales of every chunk. Grid: [⌈tokens / CHUNK⌉ + sequences, value heads]. */
export const deltaSolveKernel = defineKernel({
  name: "delta-solve",
  source,
  uses: [batchFragment, deltaChunk, deltaGates],
  buffers: ["qkv", "gates", "negA", "dtBias", "solved", "mixing", "batch"],
  constants: ["KEY_HEADS", "VALUE_HEADS", "KEY_DIM", "VALUE_DIM"],
});
