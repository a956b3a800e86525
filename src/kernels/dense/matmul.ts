import portable from "../../../shaders/dense/matmul.wgsl?raw";
import subgroups from "../../../shaders/dense/matmul-subgroups.wgsl?raw";
import tiles from "../../../shaders/dense/matmul-tiles.wgsl?raw";
import tile from "../../../shaders/dense/tile.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import { batchFragment } from "../lib/batch.ts";
import { expand, unroll } from "../lib/unroll.ts";

const shared = {
  uses: [batchFragment, { name: "tile", source: tile }],
  buffers: ["x", "weight", "batch", "y"],
  constants: ["COLUMNS", "ROWS", "INPUT_ROWS"],
} as const;

/** x·Wᵀ for many rows, on any device. Needs `linearParts`. Grid: [⌈rows / 4⌉, ⌈W's rows / 256⌉]. */
export const matmulKernel = defineKernel({ name: "matmul", source: unroll(portable, 4), ...shared });

/** x·Wᵀ for many rows, in subgroups of 4 or more. Needs `linearParts`. Grid: [⌈rows / 8⌉, ⌈W's rows / 256⌉]. */
export const matmulSubgroups4Kernel = defineKernel({
  name: "matmul-subgroups-4",
  source: unroll(subgroups, 4),
  ...shared,
});

/** x·Wᵀ for many rows, in subgroups of 8 or more. Needs `linearParts`. Grid: [⌈rows / 16⌉, ⌈W's rows / 256⌉]. */
export const matmulSubgroups8Kernel = defineKernel({
  name: "matmul-subgroups-8",
  source: unroll(subgroups, 8),
  ...shared,
});

/** x·Wᵀ for many rows through workgroup memory. A workgroup takes `side` rows of x and of W. */
const tiled = (name: string, count: number, slices: number) => ({
  kernel: defineKernel({
    name,
    source: `const SLICES = ${slices}u;\n${unroll(expand(tiles, { i: 4 }), count)}`,
    ...shared,
  }),
  side: 32 * count,
});

/** For any GPU; `sliced` takes 32 KiB of workgroup memory. They need `linearParts`. Grid: [⌈rows / side⌉, ⌈W's rows / side⌉]. */
export const matmulTiles = {
  small: tiled("matmul-tiles-32", 1, 1),
  sliced: tiled("matmul-tiles-32-sliced", 1, 4),
  large: tiled("matmul-tiles-64", 2, 1),
};
