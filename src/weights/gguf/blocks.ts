// Blocks of 32 (NVFP4: 64). In all but Q8_0, byte i of the quants holds element i in its low nibble, element i + 16 (NVFP4:
// i + 8 of a sub-block of 16) in its high one.
import { halfToFloat } from "../half.ts";
import { aligned16 } from "../views.ts";
import type { Unpack } from "./block-types.ts";

/** w = d q: int8 with one f16, which is q8. */
export const unpackQ8_0: Unpack = (blocks, data, scales) => {
  const source = aligned16(blocks);
  const out = new Uint16Array(data);
  for (let block = 0, from = 0, to = 0; from < source.length; block++) {
    scales[block] = source[from++];
    for (const end = to + 16; to < end; ) out[to++] = source[from++];
  }
};

/** w = d (q − 8), which is q4. */
export const unpackQ4_0: Unpack = (blocks, data, scales) => {
  const source = aligned16(blocks);
  const out = new Uint32Array(data);
  for (let block = 0, from = 0; from < source.length; block++, from += 9) {
    scales[block] = source[from];
    packHalves(source, from + 1, out, 4 * block);
  }
};

/** w = d q + m, which is q4a. */
export const unpackQ4_1: Unpack = (blocks, data, scales) => {
  const source = aligned16(blocks);
  const out = new Uint32Array(data);
  for (let block = 0, from = 0; from < source.length; block++, from += 10) {
    scales[2 * block] = source[from];
    scales[2 * block + 1] = source[from + 1];
    packHalves(source, from + 2, out, 4 * block);
  }
};

function packHalves(source: Uint16Array, from: number, out: Uint32Array, to: number): void {
  for (let word = 0; word < 4; word++) out[to + word] = packNibbles(source, from + 4 * (word & 1), 4 * (word >> 1));
}

/** A u32 of q4 (format.ts) of the low (shift 0) or high (4) nibbles of eight bytes, given as four u16. */
export const packNibbles = (source: Uint16Array, from: number, shift: number): number =>
  apart(source[from] >> shift) |
  (apart(source[from + 1] >> shift) << 4) |
  (apart(source[from + 2] >> shift) << 8) |
  (apart(source[from + 3] >> shift) << 12);

const apart = (pair: number): number => (pair & 15) | ((pair & 0xf00) << 8);

/** w = d (q − 16), q in five bits: q8 has room for it. */
export const unpackQ5_0: Unpack = (blocks, data, scales) => {
  const out = new Int8Array(data);
  for (let block = 0, at = 0; at < blocks.length; block++, at += 22) {
    scales[block] = half(blocks, at);
    const high = word(blocks, at + 2);
    for (let i = 0, to = 32 * block; i < 16; i++, to++) {
      const pair = blocks[at + 6 + i];
      out[to] = ((pair & 15) | (((high >>> i) & 1) << 4)) - 16;
      out[to + 16] = ((pair >> 4) | (((high >>> (i + 16)) & 1) << 4)) - 16;
    }
  }
};

/** w = d q + m, q in five bits. */
export const unpackQ5_1: Unpack = (blocks, data) => {
  const out = new Float32Array(data);
  for (let block = 0, at = 0; at < blocks.length; block++, at += 24) {
    const d = halfToFloat(half(blocks, at));
    const m = halfToFloat(half(blocks, at + 2));
    const high = word(blocks, at + 4);
    for (let i = 0, to = 32 * block; i < 16; i++, to++) {
      const pair = blocks[at + 8 + i];
      out[to] = d * ((pair & 15) | (((high >>> i) & 1) << 4)) + m;
      out[to + 16] = d * ((pair >> 4) | (((high >>> (i + 16)) & 1) << 4)) + m;
    }
  }
};

/** w = d t[q]; the table's numbers are int8, so this is q8. */
export const unpackIq4Nl: Unpack = (blocks, data, scales) => {
  const out = new Int8Array(data);
  for (let block = 0, at = 0; at < blocks.length; block++, at += 18) {
    scales[block] = half(blocks, at);
    lookUp(IQ4, blocks, at + 2, out, 32 * block);
  }
};

export const IQ4 = Int8Array.of(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);

/** Twice the numbers of e2m1. */
const FP4 = Int8Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

/** The 32 elements of sixteen bytes, through a table. */
export function lookUp(table: Int8Array, blocks: Uint8Array, from: number, out: Int8Array, to: number): void {
  for (let i = 0; i < 16; i++) {
    const pair = blocks[from + i];
    out[to + i] = table[pair & 15];
    out[to + i + 16] = table[pair >> 4];
  }
}

/** w = 2^(e − 128) u[q], which is q8 where f16 has that power of two. */
export const unpackMxfp4: Unpack = (blocks, data, scales) => {
  const out = new Int8Array(data);
  for (let block = 0, at = 0; at < blocks.length; block++, at += 17) {
    const exponent = blocks[at] - 128;
    lookUp(FP4, blocks, at + 1, out, 32 * block);
    scales[block] = powerOfTwo(exponent);
    if (exponent >= -24) continue;
    // Below what f16 has: weights under 10⁻⁶, in its smallest unit.
    for (let i = 32 * block; i < 32 * block + 32; i++) out[i] = Math.round(out[i] * 2 ** (exponent + 24));
  }
};

/** 2^exponent as f16 bits, at least 2⁻²⁴; infinity where it is too large. */
function powerOfTwo(exponent: number): number {
  if (exponent < -14) return 1 << Math.max(0, exponent + 24);
  return Math.min(exponent + 15, 31) << 10;
}

/** w = s u[q], one s in e4m3 for each 16. */
export const unpackNvfp4: Unpack = (blocks, data) => {
  const out = new Float32Array(data);
  for (let at = 0, to = 0; at < blocks.length; at += 36) {
    for (let sub = 0; sub < 4; sub++, to += 16) {
      const scale = halfE4m3(blocks[at + sub]);
      for (let i = 0; i < 8; i++) {
        const pair = blocks[at + 4 + 8 * sub + i];
        out[to + i] = scale * FP4[pair & 15];
        out[to + i + 8] = scale * FP4[pair >> 4];
      }
    }
  }
};

/** Half the number of an e4m3 without sign; its NaN counts as 0. */
function halfE4m3(bits: number): number {
  if (bits === 0x7f) return 0;
  const exponent = (bits >> 3) & 15;
  const fraction = bits & 7;
  return exponent === 0 ? fraction * 2 ** -10 : (8 + fraction) * 2 ** (exponent - 11);
}

/** The f16 bits at a byte. */
export const half = (bytes: Uint8Array, at: number): number => bytes[at] | (bytes[at + 1] << 8);

const word = (bytes: Uint8Array, at: number): number => half(bytes, at) | (half(bytes, at + 2) << 16);
