import source from "../../../shaders/dense/matvec.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";

/** x·Wᵀ for a few rows. Needs `matvecTile` and `linearParts`. Grid: [GRID_X, …], workgroups of WORKGROUP / LANES · OUTPUTS rows of W. */
export const matvecKernel = defineKernel({
  name: "matvec",
  source,
  buffers: ["x", "weight", "y"],
  constants: ["WORKGROUP", "LANES", "COLUMNS", "ROWS", "GRID_X"],
});

/** What a thread keeps in registers: arrays there need a `const` length. */
export const matvecTile = (tile: { readonly tokens: number; readonly outputs: number }): Fragment => ({
  name: "matvec-tile",
  source: `const TOKENS = ${tile.tokens}u;\nconst OUTPUTS = ${tile.outputs}u;`,
});
