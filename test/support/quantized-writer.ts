import { BF16, E2M1, E4M3, F16, type MiniFloat } from "./mini-float.ts";

// Writes matrices as other tools store them, from the descriptions of their formats; it shares no code with the readers.

export interface StoredPart {
  readonly suffix: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** What a matrix becomes: its parts, named by what follows `module.`, and the weights that these stand for. */
interface Written {
  readonly parts: readonly StoredPart[];
  readonly values: Float32Array;
}

type Matrix = { readonly rows: number; readonly columns: number; readonly values: Float32Array };
export type Writer = (matrix: Matrix) => Written;

/** A safetensors file's bytes for numbers of a float type. */
export function floats(dtype: "F32" | "F16" | "BF16", values: ArrayLike<number>): Uint8Array {
  if (dtype === "F32") return new Uint8Array(Float32Array.from(values).buffer);
  const format = dtype === "F16" ? F16 : BF16;
  return new Uint8Array(Uint16Array.from(values, (value) => format.encode(value)).buffer);
}

const rounded = (format: MiniFloat, value: number): number => format.decode(format.encode(value));

/** FP8 with scales for each block of `height` × `width`, named `suffix`; Infinity is all of the matrix that way. */
export const writeFp8 =
  (height: number, width: number, suffix: string, dtype: "F32" | "BF16", scaleShape?: readonly number[]): Writer =>
  ({ rows, columns, values }) => {
    const [h, w] = [Math.min(height, rows), Math.min(width, columns)];
    const [down, across] = [Math.ceil(rows / h), Math.ceil(columns / w)];
    const largest = new Float64Array(down * across);
    const block = (i: number) => Math.floor(Math.floor(i / columns) / h) * across + Math.floor((i % columns) / w);
    for (let i = 0; i < values.length; i++) largest[block(i)] = Math.max(largest[block(i)], Math.abs(values[i]));
    const round = dtype === "BF16" ? (value: number) => rounded(BF16, value) : Math.fround;
    const scales = largest.map((value) => round(value / 448) || 1);
    const codes = Uint8Array.from(values, (value, i) => E4M3.encode(value / scales[block(i)]));
    return {
      parts: [
        { suffix: "weight", dtype: "F8_E4M3", shape: [rows, columns], data: codes },
        { suffix, dtype, shape: scaleShape ?? [down, across], data: floats(dtype, scales) },
      ],
      values: Float32Array.from(codes, (code, i) => E4M3.decode(code) * scales[block(i)]),
    };
  };

/** Codes with scale and zero for each group of a row. */
interface Grouped {
  readonly codes: Uint8Array;
  /** [rows, groups] */
  readonly scales: Float64Array;
  readonly zeros: Uint8Array;
  readonly groups: number;
  readonly values: Float32Array;
}

interface GroupOptions {
  readonly bits: number;
  readonly group: number;
  readonly symmetric?: boolean;
  readonly scale?: MiniFloat;
  /** The group of a column; default: neighbours. */
  readonly groupOf?: (column: number) => number;
}

/** w = (code − zero) · scale */
function groupwise({ rows, columns, values }: Matrix, options: GroupOptions): Grouped {
  const { bits, group, symmetric = false, scale: format = F16 } = options;
  const { groupOf = (column: number) => Math.floor(column / group) } = options;
  const groups = Math.ceil(columns / group);
  const levels = 2 ** bits - 1;
  const low = new Float64Array(rows * groups);
  const high = new Float64Array(rows * groups);
  const at = (i: number) => Math.floor(i / columns) * groups + groupOf(i % columns);
  for (let i = 0; i < values.length; i++) {
    low[at(i)] = Math.min(low[at(i)], values[i]);
    high[at(i)] = Math.max(high[at(i)], values[i]);
  }
  const middle = 2 ** (bits - 1);
  const scales = low.map((value, i) => {
    const size = symmetric ? Math.max(-value, high[i]) / (middle - 0.5) : (high[i] - value) / levels;
    return rounded(format, size) || 1;
  });
  const zeros = Uint8Array.from(low, (value, i) =>
    symmetric ? middle : Math.min(levels, Math.max(0, Math.round(-value / scales[i]))),
  );
  const codes = Uint8Array.from(values, (value, i) =>
    Math.min(levels, Math.max(0, Math.round(value / scales[at(i)]) + zeros[at(i)])),
  );
  const result = Float32Array.from(codes, (code, i) => (code - zeros[at(i)]) * scales[at(i)]);
  return { codes, scales, zeros, groups, values: result };
}

/** Rows of codes as streams of bits, lowest first, each row filled up to whole words. */
function bitStreams(rows: number, columns: number, bits: number, code: (row: number, column: number) => number) {
  const words = Math.ceil((columns * bits) / 32);
  const data = new Uint8Array(rows * words * 4);
  for (let row = 0; row < rows; row++) {
    for (let bit = 0; bit < columns * bits; bit++) {
      const value = (code(row, Math.floor(bit / bits)) >> (bit % bits)) & 1;
      data[row * words * 4 + (bit >> 3)] |= value << (bit & 7);
    }
  }
  return { data, words };
}

const transposed = (data: ArrayLike<number>, rows: number, columns: number): number[] =>
  Array.from({ length: rows * columns }, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]);

const AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7];

export const writeAwq =
  (group: number): Writer =>
  (matrix) => {
    const { rows: outputs, columns: inputs } = matrix;
    const { codes, scales, zeros, groups, values } = groupwise(matrix, { bits: 4, group });
    /** Nibble i of word j of a row is output 8j + AWQ_ORDER[i]. */
    const pack = (lines: number, at: (line: number, output: number) => number) =>
      bitStreams(lines, outputs, 4, (line, n) => at(line, n - (n % 8) + AWQ_ORDER[n % 8])).data;
    const scaleRows = transposed(scales, outputs, groups);
    return {
      values,
      parts: [
        {
          ...{ suffix: "qweight", dtype: "I32", shape: [inputs, outputs / 8] },
          data: pack(inputs, (input, output) => codes[output * inputs + input]),
        },
        {
          ...{ suffix: "qzeros", dtype: "I32", shape: [groups, outputs / 8] },
          data: pack(groups, (line, output) => zeros[output * groups + line]),
        },
        { suffix: "scales", dtype: "F16", shape: [groups, outputs], data: floats("F16", scaleRows) },
      ],
    };
  };

export interface GptqWriter {
  readonly bits: 2 | 4 | 8;
  readonly group: number;
  readonly symmetric: boolean;
  readonly version: 1 | 2;
  /** Inputs are dealt out to groups in turn, as if by importance. */
  readonly permuted?: boolean;
}

export const writeGptq =
  ({ bits, group, symmetric, version, permuted }: GptqWriter): Writer =>
  (matrix) => {
    const { rows: outputs, columns: inputs } = matrix;
    const lines = Math.ceil(inputs / group);
    const groupOf = (input: number) => (permuted ? input % lines : Math.floor(input / group));
    const { codes, scales, zeros, groups, values } = groupwise(matrix, { bits, group, symmetric, groupOf });
    const perWord = 32 / bits;
    const words = new Uint32Array((inputs / perWord) * outputs);
    for (let input = 0; input < inputs; input++) {
      for (let output = 0; output < outputs; output++) {
        const at = Math.floor(input / perWord) * outputs + output;
        words[at] = (words[at] | (codes[output * inputs + input] << ((input % perWord) * bits))) >>> 0;
      }
    }
    // The first version stores zeros less one, and -1 as all ones.
    const zero = (line: number, output: number) => (zeros[output * groups + line] - (version === 1 ? 1 : 0)) & 255;
    const indices = Int32Array.from({ length: inputs }, (_, input) => groupOf(input));
    const scaleRows = transposed(scales, outputs, groups);
    return {
      values,
      parts: [
        { suffix: "qweight", dtype: "I32", shape: [inputs / perWord, outputs], data: new Uint8Array(words.buffer) },
        {
          ...{ suffix: "qzeros", dtype: "I32", shape: [groups, Math.ceil(outputs / perWord)] },
          data: bitStreams(groups, outputs, bits, zero).data,
        },
        { suffix: "scales", dtype: "F16", shape: [groups, outputs], data: floats("F16", scaleRows) },
        { suffix: "g_idx", dtype: "I32", shape: [inputs], data: new Uint8Array(indices.buffer) },
      ],
    };
  };

/** compressed-tensors' pack-quantized. */
export const writePacked =
  (bits: number, group: number, symmetric: boolean): Writer =>
  (matrix) => {
    const { rows, columns } = matrix;
    const { codes, scales, zeros, groups, values } = groupwise(matrix, { bits, group, symmetric, scale: BF16 });
    const packed = bitStreams(rows, columns, bits, (row, column) => codes[row * columns + column]);
    const shape = new Uint8Array(BigInt64Array.of(BigInt(rows), BigInt(columns)).buffer);
    const parts: StoredPart[] = [
      { suffix: "weight_packed", dtype: "I32", shape: [rows, packed.words], data: packed.data },
      { suffix: "weight_scale", dtype: "BF16", shape: [rows, groups], data: floats("BF16", scales) },
      { suffix: "weight_shape", dtype: "I64", shape: [2], data: shape },
    ];
    if (symmetric) return { parts, values };
    // Zeros are packed along the outputs: a stream for each group, whose words lie below each other.
    const streams = bitStreams(groups, rows, bits, (line, row) => zeros[row * groups + line]);
    const words = new Uint32Array(streams.data.buffer);
    const down = Uint32Array.from({ length: words.length }, (_, i) => {
      const [word, line] = [Math.floor(i / groups), i % groups];
      return words[line * streams.words + word];
    });
    const data = new Uint8Array(down.buffer);
    return {
      values,
      parts: [...parts, { suffix: "weight_zero_point", dtype: "I32", shape: [streams.words, groups], data }],
    };
  };

/** compressed-tensors' int-quantized: a scale for each row. */
export const writeInt8: Writer = (matrix) => {
  const { rows, columns } = matrix;
  const { codes, scales, values } = groupwise(matrix, { bits: 8, group: columns, symmetric: true, scale: BF16 });
  return {
    values,
    parts: [
      { suffix: "weight", dtype: "I8", shape: [rows, columns], data: codes.map((code) => code - 128) },
      { suffix: "weight_scale", dtype: "BF16", shape: [rows, 1], data: floats("BF16", scales) },
    ],
  };
};

/** The largest magnitude, or very little. */
const largest = (values: Float32Array): number => values.reduce((max, value) => Math.max(max, Math.abs(value)), 1e-9);

export type Fp4Style = "ct-nvfp4" | "ct-mxfp4" | "modelopt" | "mlx-nvfp4" | "mlx-mxfp4";

export const writeFp4 =
  (style: Fp4Style): Writer =>
  ({ rows, columns, values }) => {
    const isMx = style.endsWith("mxfp4");
    const group = isMx ? 32 : 16;
    const peak = largest(values);
    const hasGlobal = style === "ct-nvfp4" || style === "modelopt";
    const divisor = hasGlobal ? Math.fround((448 * 6) / peak) : 1;
    const groups = columns / group;
    const codes = new Uint8Array(rows * groups);
    const scales = new Float64Array(rows * groups);
    for (let i = 0; i < codes.length; i++) {
      const max = largest(values.subarray(i * group, (i + 1) * group));
      codes[i] = isMx ? 127 + Math.ceil(Math.log2(max / 6)) : Math.max(1, E4M3.encode((max / 6) * divisor));
      scales[i] = isMx ? 2 ** (codes[i] - 127) : E4M3.decode(codes[i]) / divisor;
    }
    const nibble = (i: number) => E2M1.encode(values[i] / scales[Math.floor(i / group)]);
    const data = bitStreams(rows, columns, 4, (row, column) => nibble(row * columns + column)).data;
    const result = Float32Array.from(values, (_, i) => E2M1.decode(nibble(i)) * scales[Math.floor(i / group)]);
    const part = (suffix: string, dtype: string, width: number, bytes: Uint8Array): StoredPart => ({
      ...{ suffix, dtype, shape: [rows, width], data: bytes },
    });
    const one = (suffix: string, value: number): StoredPart => ({
      ...{ suffix, dtype: "F32", shape: [1], data: floats("F32", [value]) },
    });
    const parts: Record<Fp4Style, StoredPart[]> = {
      "ct-nvfp4": [
        part("weight_packed", "U8", columns / 2, data),
        part("weight_scale", "F8_E4M3", groups, codes),
        one("weight_global_scale", divisor),
      ],
      "ct-mxfp4": [part("weight_packed", "U8", columns / 2, data), part("weight_scale", "U8", groups, codes)],
      modelopt: [
        part("weight", "U8", columns / 2, data),
        part("weight_scale", "F8_E4M3", groups, codes),
        one("weight_scale_2", 1 / divisor),
      ],
      "mlx-nvfp4": [part("weight", "U32", columns / 8, data), part("scales", "U8", groups, codes)],
      "mlx-mxfp4": [part("weight", "U32", columns / 8, data), part("scales", "U8", groups, codes)],
    };
    return { parts: parts[style], values: result };
  };

/** MLX affine: w = code · scale + bias. As MLX does it, the larger end of a group is met exactly, so scales may be negative. */
export const writeMlx =
  (bits: number, group: number): Writer =>
  ({ rows, columns, values }) => {
    const groups = columns / group;
    const scales = new Float64Array(rows * groups);
    const biases = new Float64Array(rows * groups);
    for (let i = 0; i < scales.length; i++) {
      const part = values.subarray(i * group, (i + 1) * group);
      const [low, high] = [Math.min(...part), Math.max(...part)];
      const isLow = -low > high;
      scales[i] = rounded(BF16, ((isLow ? 1 : -1) * (high - low)) / (2 ** bits - 1)) || 1;
      biases[i] = rounded(BF16, isLow ? low : high);
    }
    const code = (i: number) => {
      const at = Math.floor(i / group);
      return Math.min(2 ** bits - 1, Math.max(0, Math.round((values[i] - biases[at]) / scales[at])));
    };
    const codes = Uint8Array.from(values, (_, i) => code(i));
    const packed = bitStreams(rows, columns, bits, (row, column) => codes[row * columns + column]);
    return {
      values: Float32Array.from(codes, (q, i) => q * scales[Math.floor(i / group)] + biases[Math.floor(i / group)]),
      parts: [
        { suffix: "weight", dtype: "U32", shape: [rows, packed.words], data: packed.data },
        { suffix: "scales", dtype: "BF16", shape: [rows, groups], data: floats("BF16", scales) },
        { suffix: "biases", dtype: "BF16", shape: [rows, groups], data: floats("BF16", biases) },
      ],
    };
  };

/** MLX mxfp8: E4M3 with a power of two for each 32. */
export const writeMxfp8: Writer = ({ rows, columns, values }) => {
  const groups = columns / 32;
  const exponents = Uint8Array.from({ length: rows * groups }, (_, i) => {
    const max = largest(values.subarray(i * 32, (i + 1) * 32));
    return 127 + Math.ceil(Math.log2(max / 448));
  });
  const scale = (i: number) => 2 ** (exponents[Math.floor(i / 32)] - 127);
  const codes = Uint8Array.from(values, (value, i) => E4M3.encode(value / scale(i)));
  return {
    values: Float32Array.from(codes, (code, i) => E4M3.decode(code) * scale(i)),
    parts: [
      { suffix: "weight", dtype: "U32", shape: [rows, columns / 4], data: codes },
      { suffix: "scales", dtype: "U8", shape: [rows, groups], data: exponents },
    ],
  };
};
