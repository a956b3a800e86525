import { describe, expect, it } from "vitest";
import { CheckpointError, UnsupportedModelError } from "../../../src/errors.ts";
import type { FileSource } from "../../../src/weights/checkpoint.ts";
import { FileListSource } from "../../../src/weights/file-list-source.ts";
import { openCheckpoint } from "../../../src/weights/open-checkpoint.ts";
import { ColumnReader } from "../../../src/weights/quantized/columns.ts";
import { Parts } from "../../../src/weights/quantized/parts.ts";
import { quantizationScheme } from "../../../src/weights/quantized/scheme.ts";
import { encodeSafetensors } from "../../../src/weights/write-safetensors.ts";
import { toFiles } from "../../support/model-files.ts";

const compressed = (rest: object, weights: object = { num_bits: 4 }) => ({
  ...{ quant_method: "compressed-tensors", config_groups: { group_0: { targets: ["Linear"], weights } } },
  ...rest,
});

describe("refuses by name, before anything but config.json is read:", () => {
  it.each<[string, object, RegExp]>([
    ["bitsandbytes", { quantization_config: { quant_method: "bitsandbytes" } }, /with bitsandbytes, which/],
    ["a name of Object's", { quantization_config: { quant_method: "constructor" } }, /with constructor/],
    ["no name", { quantization_config: {} }, /a method that config.json does not name/],
    ["null", { quantization_config: 4 }, /with 4/],
    [
      "AWQ gemv inside text_config",
      { text_config: { quantization_config: { quant_method: "awq", version: "gemv" } } },
      /AWQ in the version gemv/,
    ],
    ["AWQ of 3 bits", { quantization_config: { quant_method: "awq", bits: 3 } }, /AWQ of 3 bits/],
    [
      "GPTQ for marlin",
      { quantization_config: { quant_method: "gptq", checkpoint_format: "marlin" } },
      /GPTQ in the format marlin/,
    ],
    ["fp8 of another type", { quantization_config: { quant_method: "fp8", fmt: "e5m2" } }, /fp8 of type e5m2/],
    [
      "fp8 in odd blocks",
      { quantization_config: { quant_method: "fp8", weight_block_size: [0, 128] } },
      /blocks of \[0,128\]/,
    ],
    ["sparse weights", { quantization_config: compressed({ format: "marlin-24" }) }, /in the format marlin-24/],
    [
      "sparse files",
      { quantization_config: compressed({ sparsity_config: { format: "sparse-bitmask" } }) },
      /sparse-bitmask/,
    ],
    [
      "rotations",
      { quantization_config: compressed({ transform_config: { config_groups: { u: {} } } }) },
      /transform_config/,
    ],
    ["16 bits", { quantization_config: compressed({}, { num_bits: 16 }) }, /of 16 bits/],
    [
      "ModelOpt's other formats",
      { quantization_config: { quant_method: "modelopt", quant_algo: "W4A8_AWQ" } },
      /ModelOpt's W4A8_AWQ/,
    ],
    ["MLX in another mode", { quantization: { bits: 4, group_size: 64, mode: "trellis" } }, /MLX in the mode trellis/],
    ["MLX of 7 bits", { quantization: { bits: 7, group_size: 64 } }, /MLX's affine of 7 bits/],
    [
      "MLX of 7 bits in one module",
      { quantization: { bits: 4, group_size: 64, "model.a": { bits: 7, group_size: 64 } } },
      /7 bits/,
    ],
  ])("%s", async (_, config, message) => {
    const read: string[] = [];
    const files: FileSource = {
      label: "model",
      size: async (name) => (name === "config.json" ? 2 : undefined),
      async read(name) {
        read.push(name);
        return new TextEncoder().encode(JSON.stringify(config));
      },
    };
    const error = await openCheckpoint(files).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(UnsupportedModelError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).toMatch(/open the bf16 checkpoint/);
    expect(read).toEqual(["config.json"]);
  });

  it("but not what Sluice has packed, or what is not quantised", () => {
    expect(quantizationScheme({ quantization_config: { quant_method: "sluice" } }).kind).toBe("none");
    expect(quantizationScheme({ quantization_config: null, quantization: undefined }).kind).toBe("none");
  });
});

type Part = [name: string, dtype: string, shape: number[]];
const SIZES: Record<string, number> = { U8: 1, I8: 1, F8_E4M3: 1, F16: 2, BF16: 2, F32: 4, I32: 4, U32: 4, I64: 8 };

const open = (parts: Part[], quantization: object) => {
  const tensors = parts.map(([name, dtype, shape]) => ({
    ...{ name, dtype, shape },
    data: new Uint8Array(shape.reduce((a, b) => a * b, 1) * SIZES[dtype]),
  }));
  const config = JSON.stringify({ quantization_config: quantization });
  return openCheckpoint(
    new FileListSource(toFiles({ "config.json": config, "model.safetensors": encodeSafetensors(tensors) })),
  );
};

describe("parts that do not belong together", () => {
  const awq = { quant_method: "awq" };
  const gptq = { quant_method: "gptq" };
  const mlx = { bits: 4, group_size: 32 };
  it.each<[string, Part[], object, RegExp]>([
    ["a missing part", [["m.qweight", "I32", [32, 1]]], awq, /m\.scales is missing/],
    [
      "parts of another type",
      [
        ["m.qweight", "I32", [32, 1]],
        ["m.scales", "I32", [1, 8]],
      ],
      awq,
      /m\.scales is I32 \[1, 8\], not F32 or F16 or BF16/,
    ],
    [
      "a scalar for a matrix",
      [
        ["m.qweight", "I32", []],
        ["m.scales", "F16", []],
      ],
      awq,
      /m\.qweight is I32 \[\]/,
    ],
    [
      "other sizes",
      [
        ["m.qweight", "I32", [32, 2]],
        ["m.scales", "F16", [1, 8]],
      ],
      awq,
      /m\.qweight is I32 \[32, 2\], not I32 \[32, 1\]/,
    ],
    [
      "3 bits",
      [
        ["m.qweight", "I32", [3, 8]],
        ["m.scales", "F16", [1, 8]],
        ["m.g_idx", "I32", [32]],
      ],
      gptq,
      /m\.qweight has 3 bits a weight/,
    ],
    [
      "codes nobody has announced",
      [["m.qweight", "I32", [32, 1]]],
      { quant_method: "fp8" },
      /m is quantised, but the quantization_config .* not of awq or gptq/,
    ],
    [
      "words nobody has announced",
      [
        ["m.weight", "U32", [1, 4]],
        ["m.scales", "F16", [1, 1]],
      ],
      awq,
      /not of mlx/,
    ],
    [
      "FP8 with odd scales",
      [
        ["m.weight", "F8_E4M3", [8, 8]],
        ["m.weight_scale_inv", "F32", [3, 1]],
      ],
      { quant_method: "fp8" },
      /m\.weight_scale_inv is F32 \[3, 1\], which does not fit m\.weight \[8, 8\]/,
    ],
    [
      "MLX with odd scales",
      [
        ["m.weight", "U32", [1, 4]],
        ["m.scales", "F16", [1, 2]],
        ["m.biases", "F16", [1, 2]],
      ],
      mlx,
      /m\.weight is U32 \[1, 4\], not U32 \[1, 8\]/,
    ],
    [
      "FP4 with odd scales",
      [
        ["m.weight_packed", "U8", [1, 16]],
        ["m.weight_scale", "U8", [1, 2]],
      ],
      compressed({}),
      /m\.weight_scale is \[1, 2\], not \[1, 1\]/,
    ],
  ])("%s", async (_, parts, quantization, message) => {
    const error = await open(parts, quantization).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
  });

  it("groups that are not there", async () => {
    const parts: Part[] = [
      ["m.qweight", "I32", [4, 8]],
      ["m.qzeros", "I32", [2, 1]],
      ["m.scales", "F16", [2, 8]],
      ["m.g_idx", "I32", [32]],
    ];
    const { tensors } = await open(parts, gptq);
    await expect(tensors.get("m.weight")!.read(0, 1)).rejects.toThrow(/m\.g_idx puts inputs into groups out of order/);
  });

  it("FP8 without scales is listed with its problem, and cannot be read", async () => {
    const { tensors } = await open([["m.weight", "F8_E4M3", [8, 8]]], { quant_method: "fp8" });
    expect(tensors.get("m.weight")!.problem).toMatch(/m\.weight is F8_E4M3 without the parts/);
    await expect(tensors.get("m.weight")!.read(0, 1)).rejects.toThrow(/F8_E4M3/);
  });
});

describe("columns of a stored matrix", () => {
  const rows = 40;
  const width = 1000;
  const data = Uint8Array.from({ length: rows * width }, (_, i) => i % 251);
  let reads = 0;
  const files: FileSource = {
    label: "memory",
    size: async () => data.length,
    async read(_, range) {
      reads++;
      return data.slice(range!.from, range!.to);
    },
  };
  const tensor = { name: "m", file: "f", dtype: "U8", shape: [rows, width], from: 0, to: data.length };
  const expected = (from: number, to: number) =>
    Array.from({ length: rows }, (_, row) => [...data.subarray(row * width + from, row * width + to)]).flat();

  it.each([2 ** 20, 20_000, 100])("are read piece by piece, with %i bytes to keep", async (kept) => {
    const reader = new ColumnReader(kept);
    const parts = new Parts(files, new Map(), "");
    reads = 0;
    for (let from = 0; from < width; from += 90) {
      const to = Math.min(width, from + 90);
      expect([...(await reader.read(parts, tensor, from, to))]).toEqual(expected(from, to));
    }
    if (kept === 2 ** 20) expect(reads).toBe(1);
    if (kept === 20_000) expect(reads).toBeLessThan(8);
  });

  it("are read once for several pieces at a time, and again for others where the first reader aborts", async () => {
    const reader = new ColumnReader();
    const parts = new Parts(files, new Map(), "");
    reads = 0;
    const pieces = await Promise.all([0, 100, 200].map((from) => reader.read(parts, tensor, from, from + 100)));
    expect(reads).toBe(1);
    expect([...pieces[2]]).toEqual(expected(200, 300));

    const controller = new AbortController();
    const source: FileSource = {
      ...files,
      async read(name, range, signal) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        signal?.throwIfAborted();
        return files.read(name, range);
      },
    };
    const slow = new Parts(source, new Map(), "");
    const other = new ColumnReader();
    const aborted = other.read(slow, tensor, 0, 100, controller.signal);
    const patient = other.read(slow, tensor, 0, 100);
    controller.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    expect([...(await patient)]).toEqual(expected(0, 100));
  });
});
