import type { WeightFormat, WeightRows } from "../format.ts";
import { dataBytes, scaleBytes } from "../format.ts";
import {
  unpackIq4Nl,
  unpackMxfp4,
  unpackNvfp4,
  unpackQ4_0,
  unpackQ4_1,
  unpackQ5_0,
  unpackQ5_1,
  unpackQ8_0,
} from "./blocks.ts";
import { unpackIq4Xs, unpackQ2K, unpackQ3K, unpackQ4K, unpackQ5K, unpackQ6K } from "./super-blocks.ts";

/** How `elements` neighbours of a row lie in `bytes` of a file, and what becomes of them. */
export interface BlockType {
  readonly name: string;
  readonly elements: number;
  readonly bytes: number;
  /** What `unpackBlocks` makes of it: its own numbers, but that some scales are rounded to f16. */
  readonly format: WeightFormat;
  /** The smallest device format that holds it well, where that is not `format`. */
  readonly auto?: WeightFormat;
  /** Undefined where the bytes are in the format already. */
  readonly unpack?: Unpack;
}

/** Writes the weights of whole blocks: `data` in the type's format, `scales` (and mins) as f16 bits where it has them. */
export type Unpack = (blocks: Uint8Array, data: ArrayBuffer, scales: Uint16Array) => void;

/** Rows of whole blocks in the type's format. */
export function unpackBlocks(type: BlockType, blocks: Uint8Array, columns: number): WeightRows {
  const { format } = type;
  const elements = (blocks.length / type.bytes) * type.elements;
  const rows = elements / columns;
  if (!type.unpack) return { format, rows, columns, data: blocks };
  const data = new Uint8Array(dataBytes(format, elements));
  const scales = new Uint8Array(Math.ceil(scaleBytes(format, elements) / 4) * 4);
  type.unpack(blocks, data.buffer, new Uint16Array(scales.buffer));
  return { format, rows, columns, data, scales: scales.length > 0 ? scales : undefined };
}

/** By the ids that files carry. */
export const BLOCK_TYPES: Readonly<Record<number, BlockType | undefined>> = {
  0: { name: "F32", elements: 1, bytes: 4, format: "f32" },
  1: { name: "F16", elements: 1, bytes: 2, format: "f16" },
  2: { name: "Q4_0", elements: 32, bytes: 18, format: "q4", unpack: unpackQ4_0 },
  3: { name: "Q4_1", elements: 32, bytes: 20, format: "q4a", unpack: unpackQ4_1 },
  6: { name: "Q5_0", elements: 32, bytes: 22, format: "q8", unpack: unpackQ5_0 },
  7: { name: "Q5_1", elements: 32, bytes: 24, format: "f32", auto: "q8", unpack: unpackQ5_1 },
  8: { name: "Q8_0", elements: 32, bytes: 34, format: "q8", unpack: unpackQ8_0 },
  10: { name: "Q2_K", elements: 256, bytes: 84, format: "f32", auto: "q8", unpack: unpackQ2K },
  11: { name: "Q3_K", elements: 256, bytes: 110, format: "q8", unpack: unpackQ3K },
  12: { name: "Q4_K", elements: 256, bytes: 144, format: "q4a", unpack: unpackQ4K },
  13: { name: "Q5_K", elements: 256, bytes: 176, format: "f32", auto: "q8", unpack: unpackQ5K },
  14: { name: "Q6_K", elements: 256, bytes: 210, format: "f32", auto: "q8", unpack: unpackQ6K },
  20: { name: "IQ4_NL", elements: 32, bytes: 18, format: "q8", unpack: unpackIq4Nl },
  23: { name: "IQ4_XS", elements: 256, bytes: 136, format: "q8", unpack: unpackIq4Xs },
  30: { name: "BF16", elements: 1, bytes: 2, format: "bf16" },
  39: { name: "MXFP4", elements: 32, bytes: 17, format: "q8", unpack: unpackMxfp4 },
  40: { name: "NVFP4", elements: 64, bytes: 36, format: "f32", auto: "q8", unpack: unpackNvfp4 },
};

/** What else files may hold, to be named in errors. */
const OTHERS: Readonly<Record<number, string>> = {
  ...{ 9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S", 22: "IQ2_S" },
  ...{ 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0" },
};

export const typeName = (id: number): string => BLOCK_TYPES[id]?.name ?? OTHERS[id] ?? `type ${id}`;

/** Names of all types that are read. */
export const supportedTypes = (): string[] => Object.values(BLOCK_TYPES).map((type) => type!.name);
