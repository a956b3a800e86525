import type { CheckpointTensor } from "../checkpoint.ts";
import { GROUP } from "../format.ts";
import { floatToHalf } from "../half.ts";
import type { StoredTensor } from "../safetensors.ts";
import { bytesOf } from "../views.ts";
import { inexact } from "./affine.ts";
import { decodeElements, E2M1 } from "./elements.ts";
import type { Parts } from "./parts.ts";

/** compressed-tensors: NVFP4, whose scales are divided by `weight_global_scale`, or MXFP4. */
export function compressedFp4(parts: Parts): CheckpointTensor {
  const name = `${parts.prefix}weight`;
  const codes = parts.get("weight_packed", ["U8"]);
  if (!parts.find("weight_global_scale")) {
    const scales = parts.get("weight_scale", ["U8", "F8_E8M0"]);
    return fp4Tensor(parts, { name, codes, scales, scaleType: "F8_E8M0" });
  }
  const scales = parts.get("weight_scale", ["F8_E4M3"]);
  const global = { tensor: single(parts, "weight_global_scale"), divides: true };
  return fp4Tensor(parts, { name, codes, scales, scaleType: "F8_E4M3", global });
}

/** ModelOpt: NVFP4, whose scales are multiplied by `weight_scale_2`. */
export function modeloptFp4(parts: Parts): CheckpointTensor {
  const codes = parts.get("weight", ["U8"]);
  const scales = parts.get("weight_scale", ["F8_E4M3"]);
  const global = { tensor: single(parts, "weight_scale_2"), divides: false };
  return fp4Tensor(parts, { name: codes.name, codes, scales, scaleType: "F8_E4M3", global });
}

/** MLX: the same bytes in words, without a global scale. */
export function mlxFp4(parts: Parts, mode: "mxfp4" | "nvfp4"): CheckpointTensor {
  const codes = parts.get("weight", ["U32"]);
  const scales = parts.get("scales", ["U8"]);
  return fp4Tensor(parts, { name: codes.name, codes, scales, scaleType: mode === "mxfp4" ? "F8_E8M0" : "F8_E4M3" });
}

function single(parts: Parts, suffix: string): StoredTensor {
  const tensor = parts.get(suffix, ["F32"]);
  return tensor.shape.length === 0 ? tensor : parts.get(suffix, ["F32"], [1]);
}

interface Fp4 {
  readonly name: string;
  /** Two codes of E2M1 to a byte, the first in the low half: U8 [rows…, columns / 2], or the same bytes as U32. */
  readonly codes: StoredTensor;
  /** [rows…, columns / group] */
  readonly scales: StoredTensor;
  readonly scaleType: "F8_E4M3" | "F8_E8M0";
  /** One F32 for all of it, by which scales are divided or multiplied. */
  readonly global?: { readonly tensor: StoredTensor; readonly divides: boolean };
}

/**
 * NVFP4 (scales of E4M3 for 16) is read as f32. MXFP4 (powers of two for 32) fits q8: twice a code is a whole number, so its
 * rows stay exact as long as half the scale is an f16.
 */
function fp4Tensor(parts: Parts, { name, codes, scales, scaleType, global }: Fp4): CheckpointTensor {
  const rows = codes.shape.slice(0, -1);
  const columns = codes.shape.at(-1)! * (codes.dtype === "U32" ? 8 : 2);
  const group = scaleType === "F8_E8M0" ? 32 : 16;
  const expected = [...rows, columns / group];
  if (scales.shape.join() !== expected.join()) {
    throw parts.error(`${scales.name} is [${scales.shape.join(", ")}], not [${expected.join(", ")}].`);
  }
  const isExact = group === GROUP && !global;
  const type = group === 32 ? "MXFP4" : "NVFP4";
  const formats = isExact ? ({ format: "q8", type } as const) : inexact(type);
  return parts.tensor(name, [...rows, columns], formats, async (from, to, signal) => {
    const [bytes, scaleBytes, factor] = await Promise.all([
      parts.rows(codes, from, to, signal),
      parts.rows(scales, from, to, signal),
      globalFactor(parts, global, signal),
    ]);
    const size = { rows: to - from, columns };
    const factors = decodeElements(scaleType, scaleBytes);
    if (isExact) return { ...size, format: "q8", data: doubled(bytes), scales: halvedHalves(factors) };
    const values = new Float32Array(size.rows * columns);
    for (let i = 0; i < values.length; i += 2) {
      const scale = factors[Math.floor(i / group)] * factor;
      values[i] = E2M1[bytes[i >> 1] & 15] * scale;
      values[i + 1] = E2M1[bytes[i >> 1] >> 4] * scale;
    }
    return { ...size, format: "f32", data: bytesOf(values) };
  });
}

async function globalFactor(parts: Parts, global: Fp4["global"], signal?: AbortSignal): Promise<number> {
  if (!global) return 1;
  const [value] = decodeElements("F32", await parts.rows({ ...global.tensor, shape: [1, 1] }, 0, 1, signal));
  return global.divides ? 1 / value : value;
}

const DOUBLED = Int8Array.from(E2M1, (value) => 2 * value);

function doubled(bytes: Uint8Array): Uint8Array {
  const codes = new Int8Array(2 * bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    codes[2 * i] = DOUBLED[bytes[i] & 15];
    codes[2 * i + 1] = DOUBLED[bytes[i] >> 4];
  }
  return bytesOf(codes);
}

/** Half of each as f16, padded to a whole u32. */
function halvedHalves(factors: Float32Array): Uint8Array {
  const halves = new Uint16Array(Math.ceil(factors.length / 2) * 2);
  for (let i = 0; i < factors.length; i++) halves[i] = floatToHalf(factors[i] / 2);
  return bytesOf(halves);
}
