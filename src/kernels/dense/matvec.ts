import source from "../../../shaders/dense/matvec.wgsl?raw";
import tile from "../../../shaders/dense/tile.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { unroll } from "../lib/unroll.ts";

/**
 * x·Wᵀ for 1 … 8 rows: the kernel for n rows is at n − 1. Needs `teamSum` and `linearParts`. Grid: [GRID_X, …], workgroups
 * of 4 · WORKGROUP / LANES rows of W.
 */
export const matvecKernels = Array.from({ length: 8 }, (_, i) =>
  defineKernel({
    name: `matvec-${i + 1}`,
    source: unroll(source, i + 1),
    uses: [{ name: "tile", source: tile }],
    buffers: ["x", "weight", "y"],
    constants: ["WORKGROUP", "LANES", "COLUMNS", "ROWS", "INPUT_ROWS", "GRID_X"],
  }),
);
