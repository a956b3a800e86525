import { GROUP, type WeightRows } from "./format.ts";
import { halfToFloat } from "./half.ts";
import { aligned16, aligned32 } from "./views.ts";

/** Rows of any format as numbers, row-major; exact. */
export function decodeRows(rows: WeightRows): Float32Array<ArrayBuffer> {
  const values = new Float32Array(rows.rows * rows.columns);
  switch (rows.format) {
    case "f32":
      new Uint8Array(values.buffer).set(rows.data.subarray(0, values.byteLength));
      return values;
    case "bf16": {
      const halves = aligned16(rows.data);
      const bits = new Uint32Array(values.buffer);
      for (let i = 0; i < values.length; i++) bits[i] = halves[i] << 16;
      return values;
    }
    case "f16": {
      const halves = aligned16(rows.data);
      for (let i = 0; i < values.length; i++) values[i] = halfToFloat(halves[i]);
      return values;
    }
    case "q8":
      return decodeQ8(rows, values);
    case "q4":
      return decodeQ4(rows, values);
    case "q4a":
      return decodeQ4a(rows, values);
  }
}

function decodeQ8({ data, scales }: WeightRows, values: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const quants = new Int8Array(data.buffer, data.byteOffset, data.byteLength);
  const halves = aligned16(scales!);
  for (let group = 0, i = 0; i < values.length; group++) {
    const scale = halfToFloat(halves[group]);
    for (const end = i + GROUP; i < end; i++) values[i] = quants[i] * scale;
  }
  return values;
}

/** Where the elements 0…7 of a u32 of q4 sit (format.ts). */
export const Q4_SHIFTS = [0, 16, 4, 20, 8, 24, 12, 28] as const;

function decodeQ4({ data, scales }: WeightRows, values: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const words = aligned32(data);
  const halves = aligned16(scales!);
  for (let i = 0; i < values.length; i += 8) {
    const word = words[i >> 3];
    const scale = halfToFloat(halves[(i / GROUP) | 0]);
    for (let e = 0; e < 8; e++) values[i + e] = (((word >>> Q4_SHIFTS[e]) & 15) - 8) * scale;
  }
  return values;
}

function decodeQ4a({ data, scales }: WeightRows, values: Float32Array<ArrayBuffer>): Float32Array<ArrayBuffer> {
  const words = aligned32(data);
  const halves = aligned16(scales!);
  for (let i = 0; i < values.length; i += 8) {
    const word = words[i >> 3];
    const group = (i / GROUP) | 0;
    const scale = halfToFloat(halves[2 * group]);
    const min = halfToFloat(halves[2 * group + 1]);
    for (let e = 0; e < 8; e++) values[i + e] = ((word >>> Q4_SHIFTS[e]) & 15) * scale + min;
  }
  return values;
}
