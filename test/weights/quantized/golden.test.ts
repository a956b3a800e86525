import { describe, expect, it } from "vitest";
import type { CheckpointTensor, FileSource } from "../../../src/weights/checkpoint.ts";
import { decodeRows } from "../../../src/weights/decode.ts";
import { FileListSource } from "../../../src/weights/file-list-source.ts";
import { openCheckpoint } from "../../../src/weights/open-checkpoint.ts";
import { decodeElements } from "../../../src/weights/quantized/elements.ts";
import { unpackBits } from "../../../src/weights/quantized/unpack-bits.ts";
import { encodeSafetensors } from "../../../src/weights/write-safetensors.ts";
import { toFiles } from "../../support/model-files.ts";

// Bytes written down by hand from the formats' descriptions, and the numbers that they stand for.

type Stored = { name: string; dtype: string; shape: number[]; data: Uint8Array };

const files = (tensors: Stored[], quantization_config: object): FileSource =>
  new FileListSource(
    toFiles({
      "config.json": JSON.stringify({ quantization_config }),
      "model.safetensors": encodeSafetensors(tensors),
    }),
  );

async function weight(tensors: Stored[], quantization: object): Promise<CheckpointTensor> {
  return (await openCheckpoint(files(tensors, quantization))).tensors.get("m.weight")!;
}

async function row(tensor: CheckpointTensor, index: number): Promise<number[]> {
  return [...decodeRows(await tensor.read(index, index + 1))];
}

const words = (...values: number[]) => new Uint8Array(Uint32Array.from(values).buffer);
const bytes = (...values: number[]) => Uint8Array.from(values);
const zeros = (count: number) => new Uint8Array(count);
/** 1, 2, 0.5 as f16 and bf16. */
const F16 = { 1: [0x00, 0x3c], 2: [0x00, 0x40], half: [0x00, 0x38] } as const;
const BF16 = { 1: [0x80, 0x3f], half: [0x00, 0x3f] } as const;

describe("small floats", () => {
  it("E4M3: ones, ends, subnormals, NaN", () => {
    const values = decodeElements("F8_E4M3", bytes(0x38, 0x3c, 0xc0, 0x7e, 0x01, 0x07, 0x08, 0x80, 0x7f, 0xff));
    expect([...values]).toEqual([1, 1.5, -2, 448, 2 ** -9, 7 * 2 ** -9, 2 ** -6, -0, Number.NaN, Number.NaN]);
  });

  it("E8M0: powers of two", () => {
    expect([...decodeElements("F8_E8M0", bytes(127, 130, 0, 255))]).toEqual([1, 8, 2 ** -127, Number.NaN]);
  });
});

it("streams of 3 bits cross bytes, and rows begin on words", () => {
  // 1, 2, 3, 4, 5, 6, 7, 0 | 1, 2, 3 from the lowest bit on: 0xf58d1 in two and a half bytes, then 0b011_010_001.
  const line = bytes(0b11010001, 0b01011000, 0b00011111, 0b11010001, 0, 0, 0, 0);
  expect([...unpackBits(bytes(...line, ...line), 2, 11, 3)].slice(11)).toEqual([1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]);
});

describe("AWQ", () => {
  it("nibbles of a word are the outputs 0, 2, 4, 6, 1, 3, 5, 7, of zeros too", async () => {
    const first = { name: "m.qweight", dtype: "I32", shape: [32, 1], data: zeros(128) };
    first.data.set(words(0x76543210), 0);
    const scales = bytes(...Array.from({ length: 8 }, () => F16.half).flat());
    const tensor = await weight(
      [
        first,
        { name: "m.qzeros", dtype: "I32", shape: [1, 1], data: words(0x00000020) },
        { name: "m.scales", dtype: "F16", shape: [1, 8], data: scales },
      ],
      { quant_method: "awq", bits: 4, group_size: 32 },
    );
    expect(tensor).toMatchObject({ shape: [8, 32], format: "q4a" });
    const column = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7].map(async (o) => (await row(tensor, o))[0]));
    // Nibble 1 belongs to output 2, whose zero is 2: (1 − 2) · 0.5.
    expect(column).toEqual([0, 2, -0.5, 2.5, 1, 3, 1.5, 3.5]);
    expect((await row(tensor, 2))[1]).toBe(-1);
  });
});

describe("GPTQ", () => {
  const gptq = async (zero: number, config: object) => {
    const data = zeros(4 * 8 * 4);
    data.set(words(0x76543210), 0); // inputs 0…7 of output 0
    data.set(words(0xfedcba98), 4); // and of output 1
    const index = new Uint8Array(new Int32Array(32).buffer);
    return weight(
      [
        { name: "m.qweight", dtype: "I32", shape: [4, 8], data },
        { name: "m.qzeros", dtype: "I32", shape: [1, 1], data: words(zero) },
        {
          name: "m.scales",
          dtype: "F16",
          shape: [1, 8],
          data: bytes(...Array.from({ length: 8 }, () => F16[2]).flat()),
        },
        { name: "m.g_idx", dtype: "I32", shape: [32], data: index },
      ],
      { quant_method: "gptq", bits: 4, group_size: 32, ...config },
    );
  };

  it("holds inputs in order; a symmetric zero of 7 means 8", async () => {
    const tensor = await gptq(0x77777777, { sym: true });
    expect(tensor).toMatchObject({ shape: [8, 32], format: "q4" });
    expect((await row(tensor, 0)).slice(0, 8)).toEqual([-16, -14, -12, -10, -8, -6, -4, -2]);
    expect((await row(tensor, 1)).slice(0, 8)).toEqual([0, 2, 4, 6, 8, 10, 12, 14]);
  });

  it("adds 1 to zeros in its first version, where 15 means 0, and nothing in its second", async () => {
    const first = await gptq(0x0000000f, { sym: false });
    expect(first.format).toBe("q4a");
    expect((await row(first, 0)).slice(0, 3)).toEqual([0, 2, 4]);
    expect((await row(first, 1)).slice(0, 2)).toEqual([14, 16]);
    const second = await gptq(0x0000000f, { sym: false, checkpoint_format: "gptq_v2" });
    expect((await row(second, 0)).slice(0, 3)).toEqual([-30, -28, -26]);
  });

  it("refuses what contradicts config.json", async () => {
    await expect((await gptq(0, { sym: true })).read(0, 1)).rejects.toThrow(/m\.qzeros has zeros out of the middle/);
  });
});

describe("compressed-tensors", () => {
  const config = (weights: object) => ({
    ...{ quant_method: "compressed-tensors", format: "pack-quantized" },
    config_groups: { group_0: { targets: ["Linear"], weights } },
  });

  it("raises codes by half of their range, and packs zeros down the outputs", async () => {
    const packed = zeros(16 * 9);
    packed.set(words(0x89abcdef), 0);
    packed.set(words(0x00000003), 16 * 8);
    const scale = bytes(...Array.from({ length: 9 }, () => BF16.half).flat());
    const symmetric: Stored[] = [
      { name: "m.weight_packed", dtype: "I32", shape: [9, 4], data: packed },
      { name: "m.weight_scale", dtype: "BF16", shape: [9, 1], data: scale },
      { name: "m.weight_shape", dtype: "I64", shape: [2], data: zeros(16) },
    ];
    const q4 = await weight(symmetric, config({ num_bits: 4, group_size: 32, symmetric: true }));
    expect(q4).toMatchObject({ shape: [9, 32], format: "q4" });
    expect((await row(q4, 0)).slice(0, 8)).toEqual([3.5, 3, 2.5, 2, 1.5, 1, 0.5, 0]);
    const zero = { name: "m.weight_zero_point", dtype: "I32", shape: [2, 1], data: words(0x0000000f, 0x00000001) };
    const q4a = await weight([...symmetric, zero], config({ num_bits: 4, group_size: 32, symmetric: false }));
    expect(q4a.format).toBe("q4a");
    expect((await row(q4a, 0)).slice(0, 3)).toEqual([0, -0.5, -1]);
    expect((await row(q4a, 8)).slice(0, 2)).toEqual([1, -0.5]);
  });

  it("MXFP4 is exact in q8; NVFP4 divides by its global scale, and ModelOpt's multiplies", async () => {
    const codes = bytes(0x21, 0xf7, ...zeros(14));
    const mx = await weight(
      [
        { name: "m.weight_packed", dtype: "U8", shape: [1, 16], data: codes },
        { name: "m.weight_scale", dtype: "U8", shape: [1, 1], data: bytes(129) },
      ],
      config({ num_bits: 4, type: "float" }),
    );
    expect(mx.format).toBe("q8");
    expect((await row(mx, 0)).slice(0, 4)).toEqual([2, 4, 24, -24]);
    const global = (name: string) => ({
      name,
      dtype: "F32",
      shape: [1],
      data: new Uint8Array(Float32Array.of(4).buffer),
    });
    const scales = { name: "m.weight_scale", dtype: "F8_E4M3", shape: [1, 2], data: bytes(0x40, 0x38) };
    const nv = await weight(
      [{ name: "m.weight_packed", dtype: "U8", shape: [1, 16], data: codes }, scales, global("m.weight_global_scale")],
      config({ num_bits: 4, type: "float" }),
    );
    expect(nv).toMatchObject({ format: "f32", auto: "q8" });
    expect((await row(nv, 0)).slice(0, 4)).toEqual([0.25, 0.5, 3, -3]);
    const modelopt = await weight(
      [{ name: "m.weight", dtype: "U8", shape: [1, 16], data: codes }, scales, global("m.weight_scale_2")],
      { quant_method: "modelopt", quant_algo: "NVFP4" },
    );
    expect((await row(modelopt, 0)).slice(0, 4)).toEqual([4, 8, 48, -48]);
  });
});

it("FP8 blocks end with the matrix, and scales multiply", async () => {
  const tensor = await weight(
    [
      { name: "m.weight", dtype: "F8_E4M3", shape: [3, 5], data: new Uint8Array(15).fill(0x38) },
      {
        name: "m.weight_scale_inv",
        dtype: "BF16",
        shape: [2, 2],
        data: bytes(0x80, 0x3f, 0, 0x40, 0x40, 0x40, 0x80, 0x40),
      },
    ],
    { quant_method: "fp8", weight_block_size: [2, 4] },
  );
  expect(await row(tensor, 1)).toEqual([1, 1, 1, 1, 2]);
  expect(await row(tensor, 2)).toEqual([3, 3, 3, 3, 4]);
});

it("MLX: w = q · scale + bias, with modules of their own options", async () => {
  const tensor = await weight(
    [
      { name: "m.weight", dtype: "U32", shape: [1, 8], data: bytes(0, 255, 2, ...zeros(29)) },
      { name: "m.scales", dtype: "BF16", shape: [1, 1], data: bytes(...BF16[1]) },
      { name: "m.biases", dtype: "BF16", shape: [1, 1], data: bytes(0x80, 0xbf) },
    ],
    { group_size: 64, bits: 4, m: { group_size: 32, bits: 8 } },
  );
  expect(tensor).toMatchObject({ shape: [1, 32], format: "f32", auto: "q8" });
  expect((await row(tensor, 0)).slice(0, 4)).toEqual([-1, 254, 1, -1]);
});
