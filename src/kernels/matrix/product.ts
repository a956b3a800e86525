import down from "../../../shaders/matrix/down.wgsl?raw";
import expertTile from "../../../shaders/matrix/expert-tile.wgsl?raw";
import gateUp from "../../../shaders/matrix/gate-up.wgsl?raw";
import linear from "../../../shaders/matrix/linear.wgsl?raw";
import product from "../../../shaders/matrix/product.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { MatrixShape } from "../../gpu/profile.ts";
import { activation } from "../lib/activation.ts";
import { batchFragment } from "../lib/batch.ts";
import { matrixFragment } from "../lib/matrix.ts";
import { expand } from "../lib/unroll.ts";

/** How a workgroup's subgroups share a tile. */
interface Tiling {
  /** Subgroups that share the tile's rows (of x) and columns (rows of W). */
  readonly bands: number;
  readonly stripes: number;
  /** Results of one subgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Matrices along K that come into workgroup memory at once. */
  readonly depth: number;
}

/** The tile of a workgroup on a device. */
export const tileOf = ({ bands, stripes, rows, columns }: Tiling, { m, n }: MatrixShape) => ({
  rows: bands * rows * m,
  columns: stripes * columns * n,
});

/** Each lane holds eight values of a matrix: src/gpu/profile.ts takes no other shapes. */
function source({ bands, stripes, rows, columns, depth }: Tiling, ends: string): string {
  const counts = {
    i: rows,
    j: columns,
    l: Math.ceil((rows * depth) / stripes),
    r: Math.ceil((columns * depth) / (4 * bands)),
  };
  return `
const BANDS = ${bands}u;
const STRIPES = ${stripes}u;
const ROW_MATRICES = ${rows}u;
const COLUMN_MATRICES = ${columns}u;
const DEPTH = ${depth}u;
${expand(product, counts)}
${ends}`;
}

const linearKernel = (name: string, tiling: Tiling) => ({
  tiling,
  kernel: defineKernel({
    name: `matrix-linear-${name}`,
    source: source(tiling, linear),
    uses: [matrixFragment, batchFragment],
    buffers: ["halves", "scales", "weight", "batch", "y"],
    constants: ["COLUMNS", "ROWS", "INPUT_ROWS"],
  }),
});

/**
 * x·Wᵀ by products of matrices. Needs the fragments of `linearParts` for y and plus, and a weight's `halfFragments`.
 * Grid: [tiles of rows, tiles of W's rows].
 */
export const matrixLinear = {
  large: linearKernel("large", { bands: 2, stripes: 4, rows: 4, columns: 2, depth: 4 }),
  small: linearKernel("small", { bands: 2, stripes: 4, rows: 2, columns: 1, depth: 8 }),
};

const expertKernels = (tiling: Tiling) => ({
  tiling,
  gateUp: defineKernel({
    name: `matrix-gate-up-${tiling.bands * tiling.rows}`,
    source: source(tiling, expertTile + gateUp),
    uses: [matrixFragment, activation],
    buffers: ["halves", "scales", "pairs", "tiles", "weight", "y"],
    constants: ["COLUMNS", "INNER", "TOP_K"],
  }),
  down: defineKernel({
    name: `matrix-down-${tiling.bands * tiling.rows}`,
    source: source(tiling, expertTile + down),
    uses: [matrixFragment],
    buffers: ["halves", "scales", "pairs", "tiles", "weight", "y"],
    constants: ["COLUMNS", "OUTPUTS", "INNER", "TOP_K"],
  }),
});

/**
 * Both halves of the experts by products of matrices, for tiles that `groupTokens` has cut, by the number of matrices in a
 * tile's rows. They need a weight's `halfFragments`. Grid: [tiles of pairs, tiles of the expert's rows], of which gateUp has 2 · INNER.
 */
export const matrixExperts = [
  expertKernels({ bands: 1, stripes: 8, rows: 1, columns: 1, depth: 8 }),
  expertKernels({ bands: 1, stripes: 8, rows: 2, columns: 1, depth: 8 }),
  expertKernels({ bands: 1, stripes: 4, rows: 3, columns: 2, depth: 4 }),
  expertKernels({ bands: 2, stripes: 4, rows: 2, columns: 2, depth: 4 }),
  expertKernels({ bands: 2, stripes: 4, rows: 3, columns: 2, depth: 4 }),
  expertKernels({ bands: 2, stripes: 4, rows: 4, columns: 2, depth: 4 }),
];
