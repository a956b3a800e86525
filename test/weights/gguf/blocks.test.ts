import { describe, expect, it } from "vitest";
import { decodeRows } from "../../../src/weights/decode.ts";
import { BLOCK_TYPES, unpackBlocks } from "../../../src/weights/gguf/block-types.ts";
import { BLOCKS, decodeBlocks, encodeBlocks, putF16 } from "../../support/gguf-blocks.ts";
import { normals, random } from "../../support/random.ts";

/**
 * Weights of the block whose byte n is (37 n + 11) mod 256, but d = 0.5, a second f16 0.25, MXFP4's exponent 127 and
 * NVFP4's scales 38 40 30 3c; by an independent dequantiser. Elements 0, 1, 16, 31, 32, 63, 100, 255, and the sum.
 */
const GOLDEN: Record<string, readonly (readonly number[])[]> = {
  Q4_0: [[-1.5, 1, -1.5, 0], [-10.5]],
  Q4_1: [[7.75, 2.25, 4.75, 6.25], [130.5]],
  Q5_0: [[4.5, -1, 7, 0.5], [7.5]],
  Q5_1: [[9.75, 12.25, 9.75, 2.75], [260.5]],
  Q8_0: [[42.5, 61, -45.5, -24], [-88]],
  Q4_K: [[157.75, -12.75, 157.75, 80.25, 4, 20, 47.5, 24.25], [27220]],
  Q5_K: [[405.75, -12.75, 405.75, 80.25, 56, 40, 117.5, 54.25], [58108]],
  Q6_K: [[-715.5, 848, -216, -48, 115.5, -290, 1261.5, -30], [2306]],
  Q2_K: [[16.5, 0, -0.75, -0.75, 3.75, 3.25, 10, 2.25], [1029.5]],
  Q3_K: [[40.5, -54, -48, 32, -11, 5, 0, 21], [479]],
  IQ4_NL: [[-17.5, 12.5, -17.5, 0.5], [-128.5]],
  IQ4_XS: [[32.5, -0.5, 32.5, 17.5, 227.5, -87.5, 20, -8], [-5502.5]],
  MXFP4: [[0, 3, 1.5, 3], [12.5]],
  NVFP4: [[-6, 2, 12, -4, -3, 0.75], [3.75]],
};
const PLACES = [0, 1, 16, 31, 32, 63, 100, 255];

/** What rounding d S and d s to f16 may change; all else is exact. */
const ROUNDED: Record<string, number> = { Q4_K: 2 ** -10, IQ4_XS: 2 ** -11 };

describe.each(Object.keys(BLOCKS))("%s", (name) => {
  const definition = BLOCKS[name];
  const type = BLOCK_TYPES[definition.id]!;
  const decode = (blocks: Uint8Array) => decodeRows(unpackBlocks(type, blocks, definition.elements));

  it("has the size of its definition", () => {
    expect(type).toMatchObject({ name, elements: definition.elements, bytes: definition.bytes });
  });

  it("agrees with the definition on any bytes", () => {
    const blocks = randomBlocks(name, 50);
    const expected = decodeBlocks(name, blocks);
    const actual = decode(blocks);
    const rounding = ROUNDED[name] ?? 0;
    const wrong = expected.findIndex((w, i) => {
      const block = expected.subarray(i - (i % definition.elements)).subarray(0, definition.elements);
      return Math.abs(actual[i] - w) > (rounding && rounding * Math.max(...block.map(Math.abs)));
    });
    expect(wrong, `element ${wrong} is ${actual[wrong]} and should be ${expected[wrong]}`).toBe(-1);
  });

  it("reads blocks that begin at an odd byte", () => {
    const blocks = randomBlocks(name, 3);
    const shifted = new Uint8Array(blocks.length + 1);
    shifted.set(blocks, 1);
    expect(decode(shifted.subarray(1))).toEqual(decode(blocks));
  });

  it("comes near to ordinary numbers", () => {
    const values = normals(2048, 5, 0.02);
    const decoded = decode(encodeBlocks(name, values));
    const error = Math.hypot(...decoded.map((x, i) => x - values[i])) / Math.hypot(...values);
    expect(error).toBeLessThan(name === "Q2_K" ? 0.4 : name === "Q3_K" ? 0.25 : 0.15);
  });
});

it.each(Object.entries(GOLDEN))("%s agrees with the golden values", (name, [places, [sum]]) => {
  const block = goldenBlock(name);
  const decoded = decodeRows(unpackBlocks(BLOCK_TYPES[BLOCKS[name].id]!, block, BLOCKS[name].elements));
  for (const values of [decodeBlocks(name, block), decoded]) {
    expect(places.map((_, i) => values[PLACES[i]] + 0)).toEqual(places);
    expect(values.reduce((a, b) => a + b)).toBe(sum);
  }
});

it("holds the tiniest MXFP4 in f16's smallest unit, and makes infinities of the largest", () => {
  const blocks = encodeBlocks("MXFP4", normals(32, 1, 1));
  const decode = (exponent: number) => {
    blocks[0] = exponent;
    return decodeRows(unpackBlocks(BLOCK_TYPES[39]!, blocks, 32));
  };
  for (const exponent of [104, 113, 114, 143]) expect(decode(exponent)).toEqual(decodeBlocks("MXFP4", blocks));
  for (const exponent of [0, 90, 103]) {
    const actual = decode(exponent);
    const expected = decodeBlocks("MXFP4", blocks);
    expect(Math.max(...actual.map((w, i) => Math.abs(w - expected[i])))).toBeLessThanOrEqual(2 ** -25);
  }
  expect(decode(150).some((w) => !Number.isFinite(w))).toBe(true);
});

function goldenBlock(name: string): Uint8Array {
  const { bytes, halves } = BLOCKS[name];
  const block = Uint8Array.from({ length: bytes }, (_, n) => (37 * n + 11) % 256);
  for (const [i, at] of halves.entries()) putF16(block, at, i === 0 ? 0.5 : 0.25);
  if (name === "MXFP4") block[0] = 127;
  if (name === "NVFP4") block.set([0x38, 0x40, 0x30, 0x3c]);
  return block;
}

/** Any bits, but for f16 fields and exponents, which are of ordinary size. */
function randomBlocks(name: string, count: number): Uint8Array {
  const { bytes, halves } = BLOCKS[name];
  const next = random(bytes);
  const blocks = Uint8Array.from({ length: count * bytes }, () => Math.floor(next() * 256));
  for (let at = 0; at < blocks.length; at += bytes) {
    for (const field of halves) putF16(blocks, at + field, (next() - 0.5) / 64);
    if (name === "MXFP4") blocks[at] = 110 + (blocks[at] % 20);
    if (name === "NVFP4") for (let i = 0; i < 4; i++) blocks[at + i] &= 0x7f;
    if (name === "BF16") blocks[at + 1] &= 0xbf;
    if (name === "F32") blocks[at + 3] &= 0xbf;
  }
  return blocks;
}
