import { invariant } from "../../errors.ts";
import { halfToFloat } from "../half.ts";
import { aligned16, aligned32 } from "../views.ts";

/** Stored floats as numbers, by safetensors' names of their types; exact. */
export function decodeElements(dtype: string, bytes: Uint8Array): Float32Array {
  switch (dtype) {
    case "F32":
      return new Float32Array(aligned32(bytes).slice().buffer);
    case "F16":
      return Float32Array.from(aligned16(bytes), halfToFloat);
    case "BF16":
      return new Float32Array(Uint32Array.from(aligned16(bytes), (half) => half << 16).buffer);
    case "F8_E4M3":
      return Float32Array.from(bytes, (code) => E4M3[code]);
    case "F8_E8M0":
      return Float32Array.from(bytes, e8m0);
  }
  invariant(false, `${dtype} is no type of floats`);
}

export const FLOAT_BYTES: Readonly<Record<string, number>> = { F32: 4, F16: 2, BF16: 2 };

export const FLOAT_TYPES = Object.keys(FLOAT_BYTES);

/** Sign, four bits of exponent with bias 7, three of mantissa; no infinities, and one NaN of either sign. */
export const E4M3 = Float32Array.from({ length: 256 }, (_, code) => {
  const exponent = (code >> 3) & 15;
  const mantissa = code & 7;
  if ((code & 127) === 127) return Number.NaN;
  const magnitude = exponent === 0 ? mantissa * 2 ** -9 : (8 + mantissa) * 2 ** (exponent - 10);
  return code & 128 ? -magnitude : magnitude;
});

/** Sign, two bits of exponent, one of mantissa. All are halves of whole numbers. */
export const E2M1 = [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0, -0.5, -1, -1.5, -2, -3, -4, -6] as const;

/** A power of two alone; all ones are NaN. */
const e8m0 = (code: number): number => (code === 255 ? Number.NaN : 2 ** (code - 127));
