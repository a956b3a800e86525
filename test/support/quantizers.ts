import type { WeightFormat } from "../../src/weights/format.ts";
import type { Quantizer } from "./quantized-model.ts";
import {
  writeAwq,
  writeFp4,
  writeFp8,
  writeGptq,
  writeInt8,
  writeMlx,
  writeMxfp8,
  writePacked,
} from "./quantized-writer.ts";

export interface QuantizerCase extends Quantizer {
  readonly name: string;
  /** What reading gives, and what it becomes on the device. */
  readonly format: WeightFormat;
  readonly device: WeightFormat;
  /** Limit of ‖read − meant‖ / ‖meant‖: how far scales and mins move when they become f16. */
  readonly readError: number;
  /** Limit of the same once it is on the device. */
  readonly deviceError: number;
}

/** Read as f32, and q8 on the device. */
const inexact = { format: "f32", device: "q8", readError: 1e-6, deviceError: 0.01 } as const;
/** 4 bits that keep their codes; the min of a group takes on 11 bits. */
const affine = { format: "q4a", device: "q4a", readError: 5e-4, deviceError: 5e-4 } as const;
const exact = (format: "q4" | "q8") => ({ format, device: format, readError: 1e-6, deviceError: 1e-6 }) as const;

const quantization = (json: Record<string, unknown>) => ({ quantization_config: json });
const gptq = (json: Record<string, unknown>) => quantization({ quant_method: "gptq", ...json });
const compressed = (weights: Record<string, unknown>, format = "pack-quantized") =>
  quantization({
    ...{ quant_method: "compressed-tensors", format, ignore: ["lm_head", "re:.*mlp.gate$"] },
    config_groups: { group_0: { targets: ["Linear"], weights } },
  });
const mlx = (json: Record<string, unknown>) => ({ quantization: json, quantization_config: json });

/** Every form of quantised safetensors that Sluice reads, with the error that reading it may have. */
export const QUANTIZERS: readonly QuantizerCase[] = [
  {
    ...{ name: "FP8 in blocks", ...inexact, deviceError: 0.01, write: writeFp8(128, 128, "weight_scale_inv", "BF16") },
    config: quantization({ quant_method: "fp8", fmt: "e4m3", weight_block_size: [128, 128] }),
  },
  {
    ...{ name: "FP8 by rows", ...inexact, write: writeFp8(1, Number.POSITIVE_INFINITY, "weight_scale", "F32") },
    config: compressed({ num_bits: 8, type: "float", strategy: "channel" }, "float-quantized"),
  },
  {
    ...{ name: "FP8 as a whole", ...inexact },
    write: writeFp8(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, "weight_scale", "F32", []),
    config: quantization({ quant_method: "modelopt", quant_algo: "FP8" }),
  },
  {
    name: "AWQ",
    ...affine,
    write: writeAwq(32),
    config: quantization({ quant_method: "awq", bits: 4, group_size: 32 }),
  },
  {
    ...{ name: "GPTQ, symmetric", ...exact("q4") },
    write: writeGptq({ bits: 4, group: 64, symmetric: true, version: 1 }),
    config: gptq({ bits: 4, group_size: 64, sym: true, desc_act: false }),
  },
  {
    ...{ name: "GPTQ, asymmetric", ...affine },
    write: writeGptq({ bits: 4, group: 32, symmetric: false, version: 1 }),
    config: gptq({ bits: 4, group_size: 32, sym: false, desc_act: false }),
  },
  {
    ...{ name: "GPTQ, second version", ...affine },
    write: writeGptq({ bits: 4, group: 32, symmetric: false, version: 2 }),
    config: gptq({ bits: 4, group_size: 32, sym: false, desc_act: false, checkpoint_format: "gptq_v2" }),
  },
  {
    ...{ name: "GPTQ by importance", ...inexact },
    write: writeGptq({ bits: 4, group: 32, symmetric: true, version: 1, permuted: true }),
    config: gptq({ bits: 4, group_size: 32, sym: true, desc_act: true }),
  },
  {
    ...{ name: "GPTQ of 8 bits", ...exact("q8") },
    write: writeGptq({ bits: 8, group: 64, symmetric: true, version: 1 }),
    config: gptq({ bits: 8, group_size: 64, sym: true, desc_act: false }),
  },
  {
    ...{ name: "GPTQ of 2 bits", ...affine },
    write: writeGptq({ bits: 2, group: 32, symmetric: false, version: 1 }),
    config: gptq({ bits: 2, group_size: 32, sym: false, desc_act: false }),
  },
  {
    ...{ name: "compressed-tensors int4", ...exact("q4"), write: writePacked(4, 32, true) },
    config: compressed({ num_bits: 4, type: "int", symmetric: true, strategy: "group", group_size: 32 }),
  },
  {
    ...{ name: "compressed-tensors int4, asymmetric", ...affine, write: writePacked(4, 32, false) },
    config: compressed({ num_bits: 4, type: "int", symmetric: false, strategy: "group", group_size: 32 }),
  },
  {
    ...{ name: "compressed-tensors int8", ...exact("q8"), write: writePacked(8, 64, true) },
    config: compressed({ num_bits: 8, type: "int", symmetric: true, strategy: "group", group_size: 64 }),
  },
  {
    ...{ name: "compressed-tensors int8 by rows", ...exact("q8"), write: writeInt8 },
    config: compressed({ num_bits: 8, type: "int", symmetric: true, strategy: "channel" }, "int-quantized"),
  },
  {
    ...{ name: "compressed-tensors NVFP4", ...inexact, write: writeFp4("ct-nvfp4") },
    config: compressed({ num_bits: 4, type: "float", group_size: 16 }, "nvfp4-pack-quantized"),
  },
  {
    ...{ name: "compressed-tensors MXFP4", ...exact("q8"), write: writeFp4("ct-mxfp4") },
    config: compressed({ num_bits: 4, type: "float", group_size: 32 }, "mxfp4-pack-quantized"),
  },
  {
    ...{ name: "ModelOpt NVFP4", ...inexact, write: writeFp4("modelopt") },
    config: quantization({ quant_method: "modelopt", quant_algo: "NVFP4" }),
  },
  ...([2, 3, 4, 5, 6, 8] as const).map(
    (bits): QuantizerCase => ({
      ...{ name: `MLX of ${bits} bits`, ...(bits <= 4 ? affine : inexact), isMlx: true, write: writeMlx(bits, 32) },
      config: mlx({ group_size: 32, bits }),
      chooses: (name) => /(proj(_\w+)?|embed_tokens|lm_head)\.weight$/.test(name) && !/in_proj_(a|b|ba)\./.test(name),
    }),
  ),
  {
    ...{ name: "MLX mxfp4", ...exact("q8"), isMlx: true, write: writeFp4("mlx-mxfp4") },
    config: mlx({ group_size: 32, bits: 4, mode: "mxfp4" }),
  },
  {
    ...{ name: "MLX nvfp4", ...inexact, isMlx: true, write: writeFp4("mlx-nvfp4") },
    config: mlx({ group_size: 16, bits: 4, mode: "nvfp4" }),
  },
  {
    ...{ name: "MLX mxfp8", ...inexact, isMlx: true, write: writeMxfp8 },
    config: mlx({ group_size: 32, bits: 8, mode: "mxfp8" }),
  },
];
