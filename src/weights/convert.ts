import { CheckpointError, invariant } from "../errors.ts";
import { decodeRows } from "./decode.ts";
import { GROUP, isQuantized, scaleBytes, type WeightFormat, type WeightRows } from "./format.ts";
import { floatToHalf } from "./half.ts";
import { quantizeQ4, quantizeQ4a, quantizeQ8 } from "./quantize.ts";
import { aligned16, aligned32, bytesOf } from "./views.ts";

/** Whether rows of so many columns have whole groups; others stay in f16 or bf16. */
export const canQuantize = (columns: number): boolean => columns > 0 && columns % GROUP === 0;

/**
 * Rows in another format; as they are where it is the same one. bf16 → f32 and f16 → f32 are exact.
 * Fails with `CheckpointError`, naming `label`, for weights that are NaN or infinite, or that `format` cannot hold.
 */
export function convertRows(rows: WeightRows, format: WeightFormat, label: string): WeightRows {
  if (rows.format === format) {
    checkFinite(rows, label);
    return rows;
  }
  return encodeRows(decodeRows(rows), rows.columns, format, label);
}

/**
 * Numbers [rows, columns] in `format`, rounded to nearest, ties to even. Nothing is clamped: a weight too large for the
 * format is an error, as NaN and infinities are, because a model with such weights answers nonsense.
 */
export function encodeRows(values: Float32Array, columns: number, format: WeightFormat, label: string): WeightRows {
  invariant(!isQuantized(format) || canQuantize(columns), `${label}: ${columns} columns cannot become ${format}`);
  const input: WeightRows = { format: "f32", rows: values.length / columns, columns, data: bytesOf(values) };
  checkFinite(input, label);
  const output = encoders[format](input, values);
  checkFinite(output, label);
  return output;
}

const encoders: Record<WeightFormat, (input: WeightRows, values: Float32Array) => WeightRows> = {
  f32: (input) => input,
  f16: (input, values) => ({ ...input, format: "f16", data: bytesOf(roundToHalf(values)) }),
  bf16: (input) => ({ ...input, format: "bf16", data: bytesOf(roundToBf16(aligned32(input.data))) }),
  q8: ({ columns }, values) => quantizeQ8(values, columns),
  q4: ({ columns }, values) => quantizeQ4(values, columns),
  q4a: ({ columns }, values) => quantizeQ4a(values, columns),
};

function roundToHalf(values: Float32Array): Uint16Array {
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) halves[i] = floatToHalf(values[i]);
  return halves;
}

function roundToBf16(words: Uint32Array): Uint16Array {
  const halves = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) halves[i] = (words[i] + 0x7fff + ((words[i] >>> 16) & 1)) >>> 16;
  return halves;
}

/** Exponents of all ones are NaN or infinity; in quantised rows only scales can have them. */
function checkFinite({ format, data, scales, columns }: WeightRows, label: string): void {
  const at =
    format === "f32"
      ? firstWith(0x7f800000, aligned32(data), 0x7f800000)
      : format === "bf16"
        ? firstWith(0x7f80, aligned16(data), 0x7f807f80)
        : firstWith(0x7c00, aligned16(scales ?? data), 0x7c007c00) * elementsPerHalf(format);
  if (at < 0) return;
  const place = `row ${Math.floor(at / columns)}, column ${at % columns}`;
  const message = `a weight (${place} of those read) is NaN, infinite or too large for ${format}. `;
  throw new CheckpointError(label, `${message}The checkpoint is damaged, or made for another format.`);
}

/** Elements that an f16 of the scale plane, or of an f16 matrix, stands for; a pair of q4a shares 32. */
const elementsPerHalf = (format: WeightFormat): number =>
  isQuantized(format) ? (2 * GROUP) / scaleBytes(format, GROUP) : 1;

/** Where the exponent is all ones; `pattern` is the exponents of a word of 32 bits, two where numbers are halves. */
function firstWith(exponent: number, numbers: Uint16Array | Uint32Array, pattern: number): number {
  const { buffer, byteOffset, byteLength } = numbers;
  const isPlain = byteOffset % 4 === 0 && byteLength % 4 === 0;
  if (isPlain && !carries(new Int32Array(buffer, byteOffset, byteLength / 4), pattern)) return -1;
  return numbers.findIndex((number) => (number & exponent) === exponent);
}

/** Whether an exponent is all ones: one added to it then carries into the sign. Takes half the time of looking at each. */
function carries(words: Int32Array, pattern: number): boolean {
  // The lowest bits of runs of bits.
  const ones = pattern & ~(pattern << 1);
  let sum = 0;
  for (let i = 0; i < words.length; i++) sum |= (words[i] & pattern) + ones;
  return (sum & 0x80008000) !== 0;
}
