/**
 * The number that a half-precision bit pattern stands for. A table, because weights are decoded by the million;
 * made at first use.
 */
export function halfToFloat(bits: number): number {
  decoded ??= Float32Array.from({ length: 65536 }, (_, pattern) => decodeHalf(pattern));
  return decoded[bits];
}

let decoded: Float32Array | undefined;

function decodeHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** The nearest half-precision bit pattern, ties to even; from 65520 on an infinity. */
export function floatToHalf(value: number): number {
  number[0] = value;
  const word = bits[0];
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00;
  if (magnitude >= HALF_INFINITY) return sign | 0x7c00;
  if (magnitude < SMALLEST_NORMAL) {
    // Adding 0.5 lets the adder round to a multiple of 2⁻²⁴, the unit of subnormals, and leaves it in the low bits.
    number[0] = Math.abs(number[0]) + 0.5;
    return sign | (bits[0] - 0x3f000000);
  }
  // Half a unit less one, and one more where the kept part is odd: ties go to even. Then the exponent's bias changes.
  return sign | ((magnitude + 0xfff + ((magnitude >>> 13) & 1) - (112 << 23)) >>> 13);
}

/** 65520, halfway between the largest half and what would follow. */
const HALF_INFINITY = 0x477ff000;
/** 2⁻¹⁴ */
const SMALLEST_NORMAL = 0x38800000;

const number = new Float32Array(1);
const bits = new Uint32Array(number.buffer);
