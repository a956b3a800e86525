// Blocks of 256, in sub-blocks of 32 or 16 whose scales are small integers times one f16.
import { floatToHalf, halfToFloat } from "../half.ts";
import { aligned16 } from "../views.ts";
import type { Unpack } from "./block-types.ts";
import { half, IQ4, lookUp, packNibbles } from "./blocks.ts";

/** w = d S q − dmin M, S and M in six bits for each 32: q4a, with d S and dmin M rounded to f16. */
export const unpackQ4K: Unpack = (blocks, data, scales) => {
  const source = aligned16(blocks);
  const out = new Uint32Array(data);
  for (let at = 0, group = 0; at < blocks.length; at += 144) {
    const d = halfToFloat(half(blocks, at));
    const dmin = halfToFloat(half(blocks, at + 2));
    for (let j = 0; j < 8; j++, group++) {
      scales[2 * group] = floatToHalf(d * scaleOf(blocks, at + 4, j));
      scales[2 * group + 1] = floatToHalf(-dmin * minOf(blocks, at + 4, j));
      const from = at / 2 + 8 + 16 * (j >> 1);
      for (let i = 0; i < 4; i++) out[4 * group + i] = packNibbles(source, from + 4 * i, 4 * (j & 1));
    }
  }
};

/** As Q4_K, with a fifth bit. */
export const unpackQ5K: Unpack = (blocks, data) => {
  const out = new Float32Array(data);
  for (let at = 0, to = 0; at < blocks.length; at += 176) {
    const d = halfToFloat(half(blocks, at));
    const dmin = halfToFloat(half(blocks, at + 2));
    for (let j = 0; j < 8; j++) {
      const scale = d * scaleOf(blocks, at + 4, j);
      const min = dmin * minOf(blocks, at + 4, j);
      const quants = at + 48 + 32 * (j >> 1);
      const shift = 4 * (j & 1);
      for (let i = 0; i < 32; i++) {
        const q = ((blocks[quants + i] >> shift) & 15) | (((blocks[at + 16 + i] >> j) & 1) << 4);
        out[to++] = scale * q - min;
      }
    }
  }
};

/** Eight scales and eight mins of six bits in twelve bytes: the first four of each whole, the others in two pieces. */
function scaleOf(bytes: Uint8Array, at: number, j: number): number {
  if (j < 4) return bytes[at + j] & 63;
  return (bytes[at + j + 4] & 15) | ((bytes[at + j - 4] >> 6) << 4);
}

function minOf(bytes: Uint8Array, at: number, j: number): number {
  if (j < 4) return bytes[at + j + 4] & 63;
  return (bytes[at + j + 4] >> 4) | ((bytes[at + j] >> 6) << 4);
}

/** w = d s (q − 32), q in six bits, s an int8 for each 16. */
export const unpackQ6K: Unpack = (blocks, data) => {
  const out = new Float32Array(data);
  const signed = new Int8Array(blocks.buffer, blocks.byteOffset, blocks.byteLength);
  const scale = new Float32Array(16);
  for (let at = 0, to = 0; at < blocks.length; at += 210) {
    const d = halfToFloat(half(blocks, at + 208));
    for (let j = 0; j < 16; j++) scale[j] = d * signed[at + 192 + j];
    for (let h = 0; h < 2; h++, to += 128) {
      for (let l = 0; l < 32; l++) {
        const low = blocks[at + 64 * h + l];
        const next = blocks[at + 64 * h + 32 + l];
        const high = blocks[at + 128 + 32 * h + l];
        const j = 8 * h + (l >> 4);
        out[to + l] = scale[j] * (((low & 15) | ((high & 3) << 4)) - 32);
        out[to + l + 32] = scale[j + 2] * (((next & 15) | ((high & 12) << 2)) - 32);
        out[to + l + 64] = scale[j + 4] * (((low >> 4) | (high & 48)) - 32);
        out[to + l + 96] = scale[j + 6] * (((next >> 4) | ((high & 192) >> 2)) - 32);
      }
    }
  }
};

/** w = d S q − dmin M, q in two bits, S and M in four for each 16. */
export const unpackQ2K: Unpack = (blocks, data) => {
  const out = new Float32Array(data);
  for (let at = 0, to = 0; at < blocks.length; at += 84) {
    const d = halfToFloat(half(blocks, at + 80));
    const dmin = halfToFloat(half(blocks, at + 82));
    for (let j = 0; j < 16; j++) {
      const scale = d * (blocks[at + j] & 15);
      const min = dmin * (blocks[at + j] >> 4);
      const quants = at + 16 + 32 * (j >> 3) + 16 * (j & 1);
      const shift = 2 * ((j >> 1) & 3);
      for (let i = 0; i < 16; i++) out[to++] = scale * ((blocks[quants + i] >> shift) & 3) - min;
    }
  }
};

/**
 * w = d s q, q from −4 to 3, s from −32 to 31 for each 16. The products reach from −124 to 128, so with −d for a scale
 * they are int8, and this is q8.
 */
export const unpackQ3K: Unpack = (blocks, data, scales) => {
  const out = new Int8Array(data);
  for (let at = 0, to = 0; at < blocks.length; at += 110) {
    scales.fill(half(blocks, at + 108) ^ 0x8000, to / 32, to / 32 + 8);
    for (let j = 0; j < 16; j++) {
      const low = (blocks[at + 96 + (j & 7)] >> (4 * (j >> 3))) & 15;
      const high = (blocks[at + 104 + (j & 3)] >> (2 * (j >> 2))) & 3;
      const scale = 32 - (low | (high << 4));
      const lane = 16 * (j & 1);
      const quants = at + 32 + 32 * (j >> 3) + lane;
      const shift = 2 * ((j >> 1) & 3);
      for (let i = 0; i < 16; i++) {
        const isHigh = (blocks[at + lane + i] >> (j >> 1)) & 1;
        out[to++] = scale * (((blocks[quants + i] >> shift) & 3) - 4 + 4 * isHigh);
      }
    }
  }
};

/** w = d s t[q], s in six bits for each 32: q8, with d s rounded to f16. */
export const unpackIq4Xs: Unpack = (blocks, data, scales) => {
  const out = new Int8Array(data);
  for (let at = 0, group = 0; at < blocks.length; at += 136) {
    const d = halfToFloat(half(blocks, at));
    const high = half(blocks, at + 2);
    for (let j = 0; j < 8; j++, group++) {
      const low = (blocks[at + 4 + (j >> 1)] >> (4 * (j & 1))) & 15;
      scales[group] = floatToHalf(d * ((low | (((high >> (2 * j)) & 3) << 4)) - 32));
      lookUp(IQ4, blocks, at + 8 + 16 * j, out, 32 * group);
    }
  }
};
