import source from "../../../shaders/batched/slices.wgsl?raw";
import partSource from "../../../shaders/batched/slices-part.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { MatrixShape } from "../../gpu/profile.ts";
import type { Fragment } from "../../gpu/shader.ts";
import type { WeightFormat } from "../../weights/format.ts";
import { named, partsMain } from "../decode/product.ts";
import { batchFragment } from "../lib/batch.ts";
import { matrixFragment } from "../lib/matrix.ts";
import { expand } from "../lib/unroll.ts";
import { halfFragments } from "../matrix/halves.ts";
import { STORE, STORE_PLUS } from "./product.ts";

/** Subgroups of a workgroup, and matrices along W's columns that each has at a time: a group of 32 for each lane. */
const SLICES = 8;
const DEPTH = 4;

/** What a workgroup takes of rows of x (at most), of rows of W, and of their columns in one turn. */
export const sliceTile = ({ m, n, k }: MatrixShape) => ({ rows: 2 * m, columns: n, step: SLICES * DEPTH * k });

/** Threads of a workgroup. */
export const sliceThreads = (lanes: number): number => SLICES * lanes;

/** Some rows times up to three matrices. Needs `sliceParts`. Grid: [workgroups of all parts, tiles of rows]. */
export const sliceProduct = defineKernel({
  name: "batched-slices",
  source: "",
  uses: [matrixFragment, batchFragment],
  buffers: ["halves", "halfScales", "y", "batch"],
  constants: ["COLUMNS"],
});

/** The parts of a product by their formats: bound as weight0, weight1, …; constants ROWS0, START0, GROUPS0, … */
export function sliceParts(formats: readonly WeightFormat[], rowMatrices: number, hasPlus: boolean): Fragment[] {
  const counts = { i: rowMatrices, k: DEPTH };
  const sizes = { SLICES, DEPTH, ROW_MATRICES: rowMatrices };
  return [
    {
      name: "slices",
      source: `${Object.entries(sizes)
        .map(([name, value]) => `const ${name} = ${value}u;`)
        .join("\n")}\n${source}`,
    },
    ...formats.map((format, p) => ({
      name: `slices-part-${p}-${format}`,
      source: `${reading(format, p)}\n${expand(named(partSource, p), counts)}`,
    })),
    { name: "batched-store", source: hasPlus ? STORE_PLUS : STORE },
    { name: "slices-main", source: partsMain(formats.length, TILED) },
  ];
}

/** A format's fragment with a part's names and bindings. */
function reading(format: WeightFormat, part: number): string {
  const text = halfFragments[format].source as string;
  return text
    .replace(/\bweight(Scales)?\b/g, `weight${part}$1`)
    .replace(/\b(Packed|fetch8|fetch32|halves8|halfPair)\b/g, `$1_${part}`)
    .replace("@binding(6)", `@binding(${6 + 2 * part})`)
    .replace("@binding(7)", `@binding(${7 + 2 * part})`);
}

const TILED = {
  workgroup: "SLICES * LANES",
  before: `
  let row = group.y * TILE_ROWS;
  if (row >= tokenCount()) { return; }`,
  rows: ", row",
};
