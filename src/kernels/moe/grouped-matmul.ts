import down from "../../../shaders/moe/grouped-down.wgsl?raw";
import gateUp from "../../../shaders/moe/grouped-gate-up.wgsl?raw";
import source from "../../../shaders/moe/grouped-matmul.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import { activation } from "../lib/activation.ts";

const value4: Fragment = {
  name: "value4",
  source: ({ f16 }) => `alias Value4 = vec4<${f16 ? "f16" : "f32"}>;`,
};

const definition = {
  source,
  buffers: ["input", "pairs", "tiles", "weight", "output"],
  constants: ["COLUMNS", "INNER", "TOP_K"],
} as const;

/** First half of the grouped experts. Needs `tileRows` and a weight's fragment. Grid: [tiles, ⌈INNER / 32⌉]. */
export const groupedGateUp = defineKernel({
  ...definition,
  name: "grouped-gate-up",
  uses: [value4, activation, { name: "grouped-gate-up", source: gateUp }],
});

/** Second half, a row for each (token, slot). Needs `tileRows` and a weight's fragment. Grid: [tiles, ⌈COLUMNS / 64⌉]. */
export const groupedDown = defineKernel({
  ...definition,
  name: "grouped-down",
  uses: [value4, { name: "grouped-down", source: down }],
});

/** Pairs of a tile: 16, 32 or 64. Lengths of arrays in registers must be `const`. */
export const tileRows = (rows: number): Fragment => ({ name: "tile-rows", source: `const ROWS = ${rows}u;` });
