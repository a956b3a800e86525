import digitRows from "../../../shaders/batched/digit-rows.wgsl?raw";
import packed from "../../../shaders/batched/rows-packed.wgsl?raw";
import plain from "../../../shaders/batched/rows-plain.wgsl?raw";
import { defineKernel } from "../../gpu/kernel.ts";
import type { Fragment } from "../../gpu/shader.ts";
import type { WeightFormat } from "../../weights/format.ts";
import { digits, isPacked } from "../decode/digits.ts";
import { named, partsMain, plainPart } from "../decode/product.ts";
import { batchFragment } from "../lib/batch.ts";
import { type Tile, times } from "./times.ts";

/** Some rows times up to three matrices. Needs `sizes`, `laneSum` and `batchedParts`. Grid: [workgroups of all parts, ⌈rows / CHUNK⌉]. */
export const batchedProduct = defineKernel({
  name: "batched-product",
  source: "@group(0) @binding(1) var<storage, read_write> y: array<f32>;  // [rows, rows of all parts]",
  uses: [batchFragment],
  buffers: ["y", "batch"],
  constants: [],
});

/** Rows of digits as an input. */
export const digitInput: Fragment = { name: "digit-rows", source: digitRows };

/** The parts of a product by their formats: bound as weight0, weight1, …; constants ROWS0, START0, GROUPS0, … */
export function batchedParts(formats: readonly WeightFormat[], tile: Tile, hasPlus: boolean): Fragment[] {
  const format = formats.find(isPacked);
  return [
    ...(format ? [digits[format], digitInput] : []),
    ...(formats.some((f) => !isPacked(f)) ? [plainPart.conversions, FLOATS] : []),
    ...formats.map((f, p) => ({
      name: `batched-part-${p}-${f}`,
      source: isPacked(f) ? times(named(packed, p), tile) : plainPart.source(plain, f, p),
    })),
    { name: "batched-store", source: hasPlus ? STORE_PLUS : STORE },
    { name: "batched-main", source: partsMain(formats.length, CHUNKED) },
  ];
}

const FLOATS: Fragment = {
  name: "float-rows",
  source: `
override COLUMNS: u32;
@group(0) @binding(2) var<storage, read> floats: array<vec4<f32>>;  // [row][first fours of all eights, then second]`,
};

export const STORE = `
override Y_STRIDE: u32;
fn store(row: u32, column: u32, value: f32) { y[row * Y_STRIDE + column] = value; }`;

export const STORE_PLUS = `
override Y_STRIDE: u32;
override PLUS_OFFSET: u32;
override PLUS_STRIDE: u32;
@group(0) @binding(3) var<storage, read> plus: array<f32>;
fn store(row: u32, column: u32, value: f32) { y[row * Y_STRIDE + column] = value + plus[PLUS_OFFSET + row * PLUS_STRIDE + column]; }`;

/** A workgroup takes CHUNK rows at most. */
const CHUNKED = {
  before: `
  let begin = group.y * CHUNK;
  let end = min(begin + CHUNK, tokenCount());
  if (begin >= end) { return; }`,
  rows: ", begin, end",
};
