import { decodeElements } from "./elements.ts";

// GPTQ and AWQ store [inputs, outputs]. These turn what was read of some outputs into rows of the matrix [outputs, inputs].

/**
 * Codes [outputs from…to, rows] of words [rows, words], each of which holds neighbouring outputs: output `o` at the bit
 * `shifts[o % shifts.length]`. The words begin with the one that holds output `from`.
 */
export function unpackAcross(
  bytes: Uint8Array,
  from: number,
  to: number,
  shifts: readonly number[],
  mask: number,
): Uint8Array {
  const [first, end] = wordRange(from, to, shifts.length);
  const words = wordsOf(bytes);
  const width = end - first;
  const rows = words.length / Math.max(1, width);
  const codes = new Uint8Array((to - from) * rows);
  for (let output = from, i = 0; output < to; output++) {
    const shift = shifts[output % shifts.length];
    const column = Math.floor(output / shifts.length) - first;
    for (let row = 0; row < rows; row++, i++) codes[i] = (words[row * width + column] >>> shift) & mask;
  }
  return codes;
}

/** Which words of a row hold the outputs from…to. */
export const wordRange = (from: number, to: number, perWord: number): [number, number] => [
  Math.floor(from / perWord),
  Math.ceil(to / perWord),
];

/** Codes [outputs, inputs] of words [inputs · bits / 32, outputs], each of which holds neighbouring inputs. */
export function unpackDown(bytes: Uint8Array, outputs: number, bits: number): Uint8Array {
  const words = wordsOf(bytes);
  const rows = words.length / Math.max(1, outputs);
  const codes = new Uint8Array((words.length * 32) / bits);
  const mask = 2 ** bits - 1;
  for (let output = 0, i = 0; output < outputs; output++) {
    for (let row = 0; row < rows; row++) {
      const word = words[row * outputs + output];
      for (let shift = 0; shift < 32; shift += bits) codes[i++] = (word >>> shift) & mask;
    }
  }
  return codes;
}

/** Floats [groups, outputs] as [outputs, groups]. */
export function transposeFloats(dtype: string, bytes: Uint8Array, outputs: number): Float32Array {
  const stored = decodeElements(dtype, bytes);
  const groups = stored.length / Math.max(1, outputs);
  return stored.map((_, i) => stored[(i % groups) * outputs + Math.floor(i / groups)]);
}

/** Words of 32 bits; a copy, for what was read may begin anywhere. */
export const wordsOf = (bytes: Uint8Array): Uint32Array => new Uint32Array(bytes.slice().buffer);
