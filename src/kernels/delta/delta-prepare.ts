import source from "../../../shaders/delta/delta-prepare.wgsl?raw";
import type { KernelDefinition } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { matrixFragment } from "../lib/matrix.ts";
import { expand } from "../lib/unroll.ts";
import { deltaGates } from "./delta-gates.ts";
import { type DeltaSizes, deltaMatrices } from "./delta-matrices.ts";

/**
 * Operands of the scan by products of matrices, U and decays of every chunk.
 * Grid: [⌈tokens / chunk⌉ + sequences, value heads].
 */
export const deltaPrepare = (sizes: DeltaSizes) =>
  ({
    name: "delta-prepare",
    source: expand(source, {
      p: Math.ceil(sizes.keyDim / 4 / sizes.lanes),
      q: 4,
      g: sizes.chunk / sizes.matrix.n,
      t: Math.ceil(sizes.keyDim / sizes.matrix.n / sizes.subgroups),
      r: sizes.chunk / sizes.matrix.m,
      k: 15,
      v: 4,
      j: 8,
    }),
    uses: [matrixFragment, deltaMatrices(sizes), batchFragment, deltaGates],
    buffers: ["qkv", "gates", "negA", "dtBias", "operands", "corrections", "decays", "batch"],
    constants: ["KEY_HEADS", "VALUE_HEADS"],
  }) as const satisfies KernelDefinition<string, string>;
