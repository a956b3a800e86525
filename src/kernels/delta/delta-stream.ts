import source from "../../../shaders/delta/delta-stream.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { batchFragment } from "../lib/batch.ts";
import { expand } from "../lib/unroll.ts";
import { deltaGates } from "./delta-gates.ts";

/** Threads of a workgroup. */
export const STREAM_THREADS = 64;

/** Tokens that take one turn together. */
const BLOCK = 4;

/**
 * The delta rule over each sequence's tokens, where subgroups have at least as many lanes as share a column of S. Needs
 * `streamRows`. Grid: [⌈valueDim · lanes / STREAM_THREADS⌉, value heads, sequences].
 */
export const deltaStreamKernel = defineKernel({
  name: "delta-stream",
  source: "",
  uses: [batchFragment, deltaGates],
  buffers: ["qkv", "gates", "negA", "dtBias", "state", "y", "batch"],
  constants: ["KEY_HEADS", "VALUE_HEADS", "KEY_DIM", "VALUE_DIM"],
});

/** The kernel with a variable for each vector of a column that a thread has. */
export const streamRows = (lanes: number, keyDim: number): Fragment => {
  const parts = keyDim / 4 / lanes;
  const body = expand(source, { p: parts, v: Math.ceil(STREAM_THREADS / lanes / lanes), b: BLOCK });
  return {
    name: `delta-stream-${lanes}-${keyDim}`,
    source: `const LANES = ${lanes}u;\nconst PARTS = ${parts}u;\nconst BLOCK = ${BLOCK}u;\n${body}`,
  };
};

/** Workgroup memory: q, k, v and gates of the tokens that are brought together, and what they are to others of their block. */
export function streamBytes(lanes: number, keyDim: number): number {
  const tokens = STREAM_THREADS / lanes;
  return 4 * tokens * (2 * keyDim + tokens + 2 + 3 * BLOCK);
}
