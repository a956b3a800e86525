/** A block type of GGUF by its definition: one formula for a weight, and a plain encoder. */
export interface BlockDefinition {
  readonly id: number;
  readonly elements: number;
  readonly bytes: number;
  /** Where its f16 fields are: d, and a min where it has one. */
  readonly halves: readonly number[];
  /** Element i of the block. */
  weight(b: Uint8Array, i: number): number;
  /** Writes a block that comes close to `elements` numbers; all of `b` is zero before. */
  encode(x: Float32Array, b: Uint8Array): void;
}

const IQ4 = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
const E2M1 = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

const int = Math.floor;
const u16 = (b: Uint8Array, at: number) => b[at] + 256 * b[at + 1];
const bit = (b: Uint8Array, at: number, i: number) => (b[at + int(i / 8)] >> (i % 8)) & 1;
const i8 = (byte: number) => (byte > 127 ? byte - 256 : byte);

function f16(b: Uint8Array, at: number): number {
  const bits = u16(b, at);
  const [exponent, fraction] = [int(bits / 1024) % 32, bits % 1024];
  const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits >= 0x8000 ? -size : size;
}

/** Writes the nearest f16 of a number of ordinary size, and gives it. */
export function putF16(b: Uint8Array, at: number, value: number): number {
  const size = Math.abs(value);
  const exponent = size < 2 ** -14 ? -14 : int(Math.log2(size));
  const units = Math.round(size / 2 ** (exponent - 10));
  const bits = (exponent + 14) * 1024 + units + (value < 0 ? 0x8000 : 0);
  b[at] = bits % 256;
  b[at + 1] = int(bits / 256);
  return f16(b, at);
}

const ue4m3 = (x: number) =>
  x === 0 || x === 0x7f ? 0 : int(x / 8) === 0 ? (x % 8) * 2 ** -9 : (1 + (x % 8) / 8) * 2 ** (int(x / 8) - 7);

const nibble = (b: Uint8Array, at: number, i: number) => (b[at + (i % 16)] >> (4 * int(i / 16))) & 15;
const putNibble = (b: Uint8Array, at: number, i: number, q: number) => {
  b[at + (i % 16)] |= q << (4 * int(i / 16));
};

/** The 6-bit scale and min of sub-block j of Q4_K and Q5_K, whose twelve bytes begin at 4. */
function scaleMin(b: Uint8Array, j: number): [number, number] {
  const sc = (n: number) => b[4 + n];
  if (j < 4) return [sc(j) & 63, sc(j + 4) & 63];
  return [(sc(j + 4) & 15) | ((sc(j - 4) >> 6) << 4), (sc(j + 4) >> 4) | ((sc(j) >> 6) << 4)];
}

function putScaleMin(b: Uint8Array, j: number, scale: number, min: number): void {
  if (j < 4) {
    b[4 + j] |= scale;
    b[8 + j] |= min;
    return;
  }
  b[8 + j] |= (scale & 15) | ((min & 15) << 4);
  b[j] |= (scale >> 4) << 6;
  b[4 + j] |= (min >> 4) << 6;
}

const max = (x: Iterable<number>) => Math.max(...x);
const min = (x: Iterable<number>) => Math.min(...x);
/** The largest by magnitude, with its sign. */
const peak = (x: Float32Array) => (max(x) > -min(x) ? max(x) : min(x));
const parts = (x: Float32Array, size: number) =>
  Array.from({ length: x.length / size }, (_, j) => x.subarray(j * size, (j + 1) * size));
const level = (x: number, scale: number, low: number, high: number) =>
  scale === 0 ? 0 : Math.max(low, Math.min(high, Math.round(x / scale)));
const nearest = (table: readonly number[], x: number) =>
  table.reduce((best, value, q) => (Math.abs(value - x) < Math.abs(table[best] - x) ? q : best), 0);

/** w = d (q − zero): the largest weight lands on the lowest level. */
const symmetric =
  (zero: number, put: (b: Uint8Array, i: number, q: number) => void) => (x: Float32Array, b: Uint8Array) => {
    const d = putF16(b, 0, -peak(x) / zero);
    for (const [i, value] of x.entries()) put(b, i, level(value, d, -zero, zero - 1) + zero);
  };

/** w = d q + m. */
const affine =
  (top: number, put: (b: Uint8Array, i: number, q: number) => void) => (x: Float32Array, b: Uint8Array) => {
    const m = putF16(b, 2, min(x));
    const d = putF16(b, 0, (max(x) - m) / top);
    for (const [i, value] of x.entries()) put(b, i, level(value - m, d, 0, top));
  };

const fiveBits = (nibbles: number, high: number) => (b: Uint8Array, i: number, q: number) => {
  putNibble(b, nibbles, i, q & 15);
  b[high + int(i / 8)] |= (q >> 4) << (i % 8);
};

/** w = d S q − dmin M for parts of a super-block. */
function superAffine(
  x: Float32Array,
  b: Uint8Array,
  field: { d: number; size: number; top: number; steps: number },
  putScales: (j: number, scale: number, min: number) => void,
  put: (i: number, q: number) => void,
): void {
  const mins = parts(x, field.size).map((part) => Math.max(0, -min(part)));
  const scales = parts(x, field.size).map((part, j) => (Math.max(max(part), 0) + mins[j]) / field.top);
  const d = putF16(b, field.d, max(scales) / field.steps);
  const dmin = putF16(b, field.d + 2, max(mins) / field.steps);
  for (const [j, scale] of scales.entries()) {
    const S = level(scale, d, 0, field.steps);
    const M = level(mins[j], dmin, 0, field.steps);
    putScales(j, S, M);
    for (let i = j * field.size; i < (j + 1) * field.size; i++) put(i, level(x[i] + dmin * M, d * S, 0, field.top));
  }
}

/** w = d s q for parts of a super-block: gives d and every s. */
function superScales(x: Float32Array, b: Uint8Array, at: number, size: number, lowest: number, steps: number) {
  const wanted = parts(x, size).map((part) => peak(part) / lowest);
  const d = putF16(b, at, max(wanted.map(Math.abs)) / steps);
  return { d, scales: wanted.map((scale) => level(scale, d, -steps, steps)) };
}

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);
const E4M3 = Array.from({ length: 127 }, (_, code) => ue4m3(code));

export const BLOCKS: Readonly<Record<string, BlockDefinition>> = {
  F32: {
    ...{ id: 0, elements: 1, bytes: 4, halves: [] },
    weight: (b) => new DataView(b.buffer, b.byteOffset).getFloat32(0, true),
    encode: (x, b) => new DataView(b.buffer, b.byteOffset).setFloat32(0, x[0], true),
  },
  F16: {
    ...{ id: 1, elements: 1, bytes: 2, halves: [0] },
    weight: (b) => f16(b, 0),
    encode: (x, b) => void putF16(b, 0, x[0]),
  },
  BF16: {
    ...{ id: 30, elements: 1, bytes: 2, halves: [] },
    weight: (b) => new Float32Array(Uint32Array.of(u16(b, 0) * 65536).buffer)[0],
    encode: (x, b) => {
      scratch[0] = x[0];
      const rounded = scratchBits[0] + 0x8000;
      b.set([(rounded >>> 16) & 255, rounded >>> 24]);
    },
  },
  Q4_0: {
    ...{ id: 2, elements: 32, bytes: 18, halves: [0] },
    weight: (b, i) => f16(b, 0) * (nibble(b, 2, i) - 8),
    encode: symmetric(8, (b, i, q) => putNibble(b, 2, i, q)),
  },
  Q4_1: {
    ...{ id: 3, elements: 32, bytes: 20, halves: [0, 2] },
    weight: (b, i) => f16(b, 0) * nibble(b, 4, i) + f16(b, 2),
    encode: affine(15, (b, i, q) => putNibble(b, 4, i, q)),
  },
  Q5_0: {
    ...{ id: 6, elements: 32, bytes: 22, halves: [0] },
    weight: (b, i) => f16(b, 0) * ((nibble(b, 6, i) | (bit(b, 2, i) << 4)) - 16),
    encode: symmetric(16, fiveBits(6, 2)),
  },
  Q5_1: {
    ...{ id: 7, elements: 32, bytes: 24, halves: [0, 2] },
    weight: (b, i) => f16(b, 0) * (nibble(b, 8, i) | (bit(b, 4, i) << 4)) + f16(b, 2),
    encode: affine(31, fiveBits(8, 4)),
  },
  Q8_0: {
    ...{ id: 8, elements: 32, bytes: 34, halves: [0] },
    weight: (b, i) => f16(b, 0) * i8(b[2 + i]),
    encode: (x, b) => {
      const d = putF16(b, 0, Math.abs(peak(x)) / 127);
      for (const [i, value] of x.entries()) b[2 + i] = level(value, d, -127, 127);
    },
  },
  Q4_K: {
    ...{ id: 12, elements: 256, bytes: 144, halves: [0, 2] },
    weight(b, i) {
      const [S, M] = scaleMin(b, int(i / 32));
      const q = (b[16 + 32 * int(i / 64) + (i % 32)] >> (4 * (int(i / 32) % 2))) & 15;
      return f16(b, 0) * S * q - f16(b, 2) * M;
    },
    encode: (x, b) =>
      superAffine(
        x,
        b,
        { d: 0, size: 32, top: 15, steps: 63 },
        (j, S, M) => putScaleMin(b, j, S, M),
        (i, q) => {
          b[16 + 32 * int(i / 64) + (i % 32)] |= q << (4 * (int(i / 32) % 2));
        },
      ),
  },
  Q5_K: {
    ...{ id: 13, elements: 256, bytes: 176, halves: [0, 2] },
    weight(b, i) {
      const [S, M] = scaleMin(b, int(i / 32));
      const low = (b[48 + 32 * int(i / 64) + (i % 32)] >> (4 * (int(i / 32) % 2))) & 15;
      const high = (b[16 + (i % 32)] >> int(i / 32)) & 1;
      return f16(b, 0) * S * (low + 16 * high) - f16(b, 2) * M;
    },
    encode: (x, b) =>
      superAffine(
        x,
        b,
        { d: 0, size: 32, top: 31, steps: 63 },
        (j, S, M) => putScaleMin(b, j, S, M),
        (i, q) => {
          b[48 + 32 * int(i / 64) + (i % 32)] |= (q & 15) << (4 * (int(i / 32) % 2));
          b[16 + (i % 32)] |= (q >> 4) << int(i / 32);
        },
      ),
  },
  Q6_K: {
    ...{ id: 14, elements: 256, bytes: 210, halves: [208] },
    weight(b, i) {
      const [h, c, l] = [int(i / 128), int((i % 128) / 32), i % 32];
      const low = (b[64 * h + 32 * (c % 2) + l] >> (4 * int(c / 2))) & 15;
      const high = (b[128 + 32 * h + l] >> (2 * c)) & 3;
      return f16(b, 208) * i8(b[192 + int(i / 16)]) * (low + 16 * high - 32);
    },
    encode(x, b) {
      const { d, scales } = superScales(x, b, 208, 16, -32, 127);
      for (const [i, value] of x.entries()) {
        const [h, c, l] = [int(i / 128), int((i % 128) / 32), i % 32];
        const q = level(value, d * scales[int(i / 16)], -32, 31) + 32;
        b[192 + int(i / 16)] = scales[int(i / 16)];
        b[64 * h + 32 * (c % 2) + l] |= (q & 15) << (4 * int(c / 2));
        b[128 + 32 * h + l] |= (q >> 4) << (2 * c);
      }
    },
  },
  Q2_K: {
    ...{ id: 10, elements: 256, bytes: 84, halves: [80, 82] },
    weight(b, i) {
      const [h, c, l] = [int(i / 128), int((i % 128) / 32), i % 32];
      const scale = b[int(i / 16)];
      return f16(b, 80) * (scale & 15) * ((b[16 + 32 * h + l] >> (2 * c)) & 3) - f16(b, 82) * (scale >> 4);
    },
    encode: (x, b) =>
      superAffine(
        x,
        b,
        { d: 80, size: 16, top: 3, steps: 15 },
        (j, S, M) => {
          b[j] = S | (M << 4);
        },
        (i, q) => {
          b[16 + 32 * int(i / 128) + (i % 32)] |= q << (2 * int((i % 128) / 32));
        },
      ),
  },
  Q3_K: {
    ...{ id: 11, elements: 256, bytes: 110, halves: [108] },
    weight(b, i) {
      const [h, c, l, j] = [int(i / 128), int((i % 128) / 32), i % 32, int(i / 16)];
      const low = (b[32 + 32 * h + l] >> (2 * c)) & 3;
      const high = (b[l] >> (4 * h + c)) & 1;
      const scale = (j < 8 ? b[96 + j] & 15 : b[96 + j - 8] >> 4) | (((b[104 + (j % 4)] >> (2 * int(j / 4))) & 3) << 4);
      return f16(b, 108) * (scale - 32) * (low - (high ? 0 : 4));
    },
    encode(x, b) {
      const { d, scales } = superScales(x, b, 108, 16, -4, 31);
      for (const [j, s] of scales.entries()) {
        b[96 + (j % 8)] |= ((s + 32) & 15) << (4 * int(j / 8));
        b[104 + (j % 4)] |= ((s + 32) >> 4) << (2 * int(j / 4));
      }
      for (const [i, value] of x.entries()) {
        const [h, c, l] = [int(i / 128), int((i % 128) / 32), i % 32];
        const q = level(value, d * scales[int(i / 16)], -4, 3) + 4;
        b[32 + 32 * h + l] |= (q & 3) << (2 * c);
        b[l] |= (q >> 2) << (4 * h + c);
      }
    },
  },
  IQ4_NL: {
    ...{ id: 20, elements: 32, bytes: 18, halves: [0] },
    weight: (b, i) => f16(b, 0) * IQ4[nibble(b, 2, i)],
    encode(x, b) {
      const d = putF16(b, 0, peak(x) / -127);
      for (const [i, value] of x.entries()) putNibble(b, 2, i, nearest(IQ4, d === 0 ? 0 : value / d));
    },
  },
  IQ4_XS: {
    ...{ id: 23, elements: 256, bytes: 136, halves: [0] },
    weight(b, i) {
      const part = int(i / 32);
      const low = (b[4 + int(part / 2)] >> (4 * (part % 2))) & 15;
      const scale = (low | (((u16(b, 2) >> (2 * part)) & 3) << 4)) - 32;
      return f16(b, 0) * scale * IQ4[nibble(b, 8 + 16 * part, i % 32)];
    },
    encode(x, b) {
      const { d, scales } = superScales(x, b, 0, 32, -127, 31);
      for (const [part, s] of scales.entries()) {
        b[4 + int(part / 2)] |= ((s + 32) & 15) << (4 * (part % 2));
        b[2 + int(part / 4)] |= ((s + 32) >> 4) << (2 * (part % 4));
      }
      for (const [i, value] of x.entries()) {
        const scale = d * scales[int(i / 32)];
        putNibble(b, 8 + 16 * int(i / 32), i % 32, nearest(IQ4, scale === 0 ? 0 : value / scale));
      }
    },
  },
  MXFP4: {
    ...{ id: 39, elements: 32, bytes: 17, halves: [] },
    weight: (b, i) => 2 ** (b[0] - 128) * E2M1[nibble(b, 1, i)],
    encode(x, b) {
      b[0] = Math.max(110, int(Math.log2(Math.abs(peak(x)) || 2 ** -20)) - 2 + 127);
      for (const [i, value] of x.entries()) putNibble(b, 1, i, nearest(E2M1, value / 2 ** (b[0] - 128)));
    },
  },
  NVFP4: {
    ...{ id: 40, elements: 64, bytes: 36, halves: [] },
    weight(b, i) {
      const [part, l] = [int(i / 16), i % 16];
      const q = (b[4 + 8 * part + (l % 8)] >> (4 * int(l / 8))) & 15;
      return 0.5 * ue4m3(b[part]) * E2M1[q];
    },
    encode(x, b) {
      for (const [part, values] of parts(x, 16).entries()) {
        const wanted = Math.abs(peak(values)) / 6;
        b[part] = nearest(E4M3, wanted);
        const scale = 0.5 * ue4m3(b[part]);
        for (const [l, value] of values.entries()) {
          const q = nearest(E2M1, scale === 0 ? 0 : value / scale);
          b[4 + 8 * part + (l % 8)] |= q << (4 * int(l / 8));
        }
      }
    },
  },
};

/** Rows of numbers in a type. */
export function encodeBlocks(type: string, values: Float32Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (type === "F32") return new Uint8Array(values.slice().buffer);
  const { elements, bytes, encode } = BLOCKS[type];
  const out = new Uint8Array((values.length / elements) * bytes);
  for (let block = 0; block < values.length / elements; block++) {
    encode(values.subarray(block * elements, (block + 1) * elements), out.subarray(block * bytes, (block + 1) * bytes));
  }
  return out;
}

/** The numbers that blocks stand for. */
export function decodeBlocks(type: string, blocks: Uint8Array): Float32Array<ArrayBuffer> {
  const { elements, bytes, weight } = BLOCKS[type];
  const values = new Float32Array((blocks.length / bytes) * elements);
  for (let block = 0; block < blocks.length / bytes; block++) {
    const b = blocks.subarray(block * bytes, (block + 1) * bytes);
    for (let i = 0; i < elements; i++) values[block * elements + i] = weight(b, i);
  }
  return values;
}
