import source from "../../../shaders/dense/matvec.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";

/** x·Wᵀ for a few rows. Needs `linearParts`. Grid: [GRID_X, …], workgroups of WORKGROUP / LANES · OUTPUTS rows of W. */
export const matvecKernel = defineKernel({
  name: "matvec",
  source,
  buffers: ["x", "weight", "y"],
  constants: ["WORKGROUP", "LANES", "COLUMNS", "ROWS", "GRID_X"],
});
