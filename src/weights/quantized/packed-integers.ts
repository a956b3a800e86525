import type { CheckpointTensor } from "../checkpoint.ts";
import { affineFormats, encodeAffine } from "./affine.ts";
import { decodeElements, FLOAT_TYPES } from "./elements.ts";
import { type Parts, rowCount } from "./parts.ts";
import { codesOf, rowBytesOf } from "./unpack-bits.ts";

/**
 * compressed-tensors "pack-quantized": `weight_packed` I32 [rows…, words], streams of bits that hold q + 2^(bits − 1);
 * `weight_scale` [rows…, groups]; where it is asymmetric `weight_zero_point` I32 [words, groups], packed down the rows, likewise raised.
 * w = (q − zero) · scale.
 */
export function packQuantized(parts: Parts, bits: number): CheckpointTensor {
  const packed = parts.get("weight_packed", ["I32"]);
  parts.find("weight_shape");
  const rows = packed.shape.slice(0, -1);
  // Nobody quantises rows so short that their last word is not full.
  const columns = (packed.shape.at(-1)! * 32) / bits;
  const scale = parts.get("weight_scale", FLOAT_TYPES);
  const groups = scale.shape.at(-1)!;
  parts.get("weight_scale", FLOAT_TYPES, [...rows, groups]);
  const group = columns / groups;
  const zeros = parts.find("weight_zero_point");
  if (zeros) parts.get("weight_zero_point", ["I32"], [Math.ceil((rows[0] * bits) / 32), groups]);
  const order = parts.find("weight_g_idx");
  const middle = 2 ** (bits - 1);
  const formats = affineFormats(bits, !zeros && !order, columns, order ? 1 : group);
  return parts.tensor(`${parts.prefix}weight`, [...rows, columns], formats, async (from, to, signal) => {
    const [bytes, scaleBytes, zeroBytes, orderBytes] = await Promise.all([
      parts.rows(packed, from, to, signal),
      parts.rows(scale, from, to, signal),
      zeros && parts.rows(zeros, 0, zeros.shape[0], signal),
      order && parts.rows({ ...order, shape: [1, columns] }, 0, 1, signal),
    ]);
    const scales = decodeElements(scale.dtype, scaleBytes);
    const zero = zeroBytes ? unpackColumns(zeroBytes, from, to, groups, bits) : undefined;
    const rowsRead = {
      rows: to - from,
      columns,
      codes: codesOf(bytes, to - from, columns, bits),
      group,
      scales,
      mins: scales.map((factor, i) => -factor * (zero ? zero[i] : middle)),
      groupOf: orderBytes && new Int32Array(orderBytes.slice().buffer),
    };
    return encodeAffine(rowsRead, formats.format);
  });
}

/** Codes [to − from, columns] of rows that are packed downwards: streams of bits that run along the first dimension. */
function unpackColumns(bytes: Uint8Array, from: number, to: number, columns: number, bits: number): Uint8Array {
  const words = new Uint32Array(bytes.slice().buffer);
  const codes = new Uint8Array((to - from) * columns);
  const mask = 2 ** bits - 1;
  for (let row = from, i = 0; row < to; row++) {
    const word = (row * bits) >> 5;
    const shift = (row * bits) & 31;
    for (let column = 0; column < columns; column++, i++) {
      const low = words[word * columns + column] >>> shift;
      // A code may end in the word below.
      const high = shift + bits > 32 ? words[(word + 1) * columns + column] << (32 - shift) : 0;
      codes[i] = (low | high) & mask;
    }
  }
  return codes;
}

/** compressed-tensors "int-quantized": I8 [rows, columns] with `weight_scale` [rows, groups] or for all of it. */
export function int8Tensor(parts: Parts): CheckpointTensor {
  const data = parts.get("", ["I8"]);
  const scale = parts.get("_scale", FLOAT_TYPES);
  const zeros = parts.find("_zero_point");
  const [rows, columns] = [rowCount(data.shape), data.shape.at(-1)!];
  const count = scale.shape.reduce((product, size) => product * size, 1);
  const groups = count === 1 ? 1 : count / rows;
  const group = columns / groups;
  if (!Number.isInteger(group) || zeros) {
    const found = zeros ? `${zeros.name} makes it asymmetric` : `${scale.name} is [${scale.shape.join(", ")}]`;
    throw parts.error(`${data.name} is I8 [${data.shape.join(", ")}], and ${found}, which Sluice does not read.`);
  }
  const scaleRows = { ...scale, shape: [count / groups, groups] };
  const formats = affineFormats(8, true, columns, group);
  return parts.tensor(data.name, data.shape, formats, async (from, to, signal) => {
    const [bytes, scaleBytes] = await Promise.all([
      parts.rows(data, from, to, signal),
      count === 1 ? parts.rows(scaleRows, 0, 1, signal) : parts.rows(scaleRows, from, to, signal),
    ]);
    const read = decodeElements(scale.dtype, scaleBytes);
    const scales = count === 1 ? new Float32Array(to - from).fill(read[0]) : read;
    const codes = bytes.map((code) => code + 128);
    const mins = scales.map((factor) => -128 * factor);
    return encodeAffine({ rows: to - from, columns, codes, group, scales, mins }, formats.format);
  });
}

/** MLX affine: U32 [rows…, words], streams of bits; `scales` and `biases` [rows…, groups]. w = q · scale + bias. */
export function mlxAffine(parts: Parts, bits: number, group: number): CheckpointTensor {
  const packed = parts.get("weight", ["U32"]);
  const scale = parts.get("scales", FLOAT_TYPES);
  const rows = packed.shape.slice(0, -1);
  const columns = scale.shape.at(-1)! * group;
  parts.get("weight", ["U32"], [...rows, rowBytesOf(columns, bits) / 4]);
  parts.get("scales", FLOAT_TYPES, [...rows, columns / group]);
  const bias = parts.get("biases", FLOAT_TYPES, scale.shape);
  const formats = affineFormats(bits, false, columns, group);
  return parts.tensor(packed.name, [...rows, columns], formats, async (from, to, signal) => {
    const [bytes, scaleBytes, biasBytes] = await Promise.all(
      [packed, scale, bias].map((tensor) => parts.rows(tensor, from, to, signal)),
    );
    const codes = codesOf(bytes, to - from, columns, bits);
    const scales = decodeElements(scale.dtype, scaleBytes);
    const mins = decodeElements(bias.dtype, biasBytes);
    return encodeAffine({ rows: to - from, columns, codes, group, scales, mins }, formats.format);
  });
}
