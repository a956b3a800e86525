import source from "../../../shaders/delta/delta-matrix-scan.wgsl?raw";
import type { KernelDefinition } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { matrixFragment } from "../lib/matrix.ts";
import { expand } from "../lib/unroll.ts";
import { type DeltaSizes, deltaMatrices } from "./delta-matrices.ts";

/** Outputs and states from what delta-prepare left. Grid: [valueDim / slice, value heads, sequences]. */
export const deltaMatrixScan = (sizes: DeltaSizes) =>
  ({
    name: "delta-matrix-scan",
    source: expand(source, {
      k: sizes.keyDim / sizes.matrix.k,
      t: Math.ceil(sizes.keyDim / sizes.matrix.m / sizes.subgroups),
      j: sizes.chunk / sizes.matrix.k,
      c: sizes.slice / sizes.matrix.n,
    }),
    uses: [matrixFragment, deltaMatrices(sizes), batchFragment],
    buffers: ["operands", "corrections", "decays", "state", "y", "batch"],
    constants: ["VALUE_HEADS"],
  }) as const satisfies KernelDefinition<string, string>;
