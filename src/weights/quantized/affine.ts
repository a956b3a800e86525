import { canQuantize } from "../convert.ts";
import { Q4_SHIFTS } from "../decode.ts";
import { dataBytes, GROUP, type QuantizedFormat, scaleBytes, type WeightFormat, type WeightRows } from "../format.ts";
import { floatToHalf } from "../half.ts";
import { aligned32, bytesOf } from "../views.ts";
import { unpackBits } from "./unpack-bits.ts";

/** One to a byte, or as they are stored: streams of 4 bits, which become device formats without being taken apart. */
export type Codes = Uint8Array | { readonly nibbles: Uint8Array };

/** Whole numbers that stand for weights: w = code · scale + min, with one scale and min for `group` neighbours in a row. */
export interface AffineRows {
  readonly rows: number;
  readonly columns: number;
  /** [rows, columns] */
  readonly codes: Codes;
  readonly group: number;
  /** [rows, ⌈columns / group⌉] */
  readonly scales: Float32Array;
  readonly mins: Float32Array;
  /** The group of each column, where columns of a group are not neighbours. */
  readonly groupOf?: ArrayLike<number>;
}

export interface Formats {
  readonly format: WeightFormat;
  readonly auto?: WeightFormat;
  /** What to call them where they are read as something else. */
  readonly type?: string;
}

/**
 * In which device format affine codes stay what they are, but for scales and mins that become f16. `symmetric` codes have
 * their zero in the middle. What no format holds is read as f32, and `auto` makes it q8.
 */
export function affineFormats(bits: number, symmetric: boolean, columns: number, group: number): Formats {
  if (!canQuantize(columns) || group % GROUP !== 0) return inexact(`int${bits}`);
  if (symmetric && (bits === 4 || bits === 8)) return { format: bits === 4 ? "q4" : "q8" };
  return bits <= 4 ? { format: "q4a" } : inexact(`int${bits}`);
}

export const inexact = (type: string): Formats => ({ format: "f32", auto: "q8", type });

export function encodeAffine(input: AffineRows, format: WeightFormat): WeightRows {
  const { rows, columns } = input;
  if (format === "f32") return { format, rows, columns, data: bytesOf(decodeAffine(input)) };
  const quantized = format as QuantizedFormat;
  return { format, rows, columns, data: encodeCodes(input.codes, quantized), scales: encodeScales(input, quantized) };
}

function decodeAffine({ rows, columns, codes: stored, group, scales, mins, groupOf }: AffineRows): Float32Array {
  const codes = stored instanceof Uint8Array ? stored : unpackBits(stored.nibbles, rows, columns, 4);
  const values = new Float32Array(rows * columns);
  const groups = scales.length / Math.max(1, rows);
  for (let row = 0, i = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++, i++) {
      const at = row * groups + (groupOf ? groupOf[column] : Math.floor(column / group));
      values[i] = codes[i] * scales[at] + mins[at];
    }
  }
  return values;
}

function encodeCodes(codes: Codes, format: QuantizedFormat): Uint8Array {
  if (!(codes instanceof Uint8Array)) return interleave(codes.nibbles);
  if (format === "q8") return codes.map((code) => code - 128);
  const words = new Uint32Array(dataBytes(format, codes.length) / 4);
  for (let i = 0; i < codes.length; i += 8) {
    let word = 0;
    for (let e = 0; e < 8; e++) word |= codes[i + e] << Q4_SHIFTS[e];
    words[i >> 3] = word;
  }
  return bytesOf(words);
}

/** Nibbles in order to the order of q4: even ones into the low half of a word, odd ones into the high half. */
function interleave(nibbles: Uint8Array): Uint8Array {
  const words = aligned32(nibbles);
  return bytesOf(words.map((word) => everyOther(word) | (everyOther(word >>> 4) << 16)));
}

/** The nibbles 0, 2, 4 and 6 next to each other. */
function everyOther(word: number): number {
  const pairs = (word & 0x000f000f) | ((word & 0x0f000f00) >>> 4);
  return (pairs & 0xff) | ((pairs & 0xff0000) >>> 8);
}

/** A scale (and min) for each 32, whatever shared it before. */
function encodeScales({ rows, columns, group, scales, mins }: AffineRows, format: QuantizedFormat): Uint8Array {
  const halves = new Uint16Array(Math.ceil(scaleBytes(format, rows * columns) / 4) * 2);
  const groups = scales.length / Math.max(1, rows);
  for (let row = 0, i = 0; row < rows; row++) {
    for (let column = 0; column < columns; column += GROUP) {
      const at = row * groups + Math.floor(column / group);
      halves[i++] = floatToHalf(scales[at]);
      if (format === "q4a") halves[i++] = floatToHalf(mins[at]);
    }
  }
  return bytesOf(halves);
}
