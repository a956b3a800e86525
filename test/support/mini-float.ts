/** A float of few bits, by its definition: sign, exponent with bias (0 for subnormals), mantissa. */
export interface MiniFloat {
  decode(code: number): number;
  /** The nearest code; the largest for what is larger. */
  encode(value: number): number;
}

export const E4M3 = miniFloat(4, 3, 7, 0x7e);
export const E2M1 = miniFloat(2, 1, 1, 0x7);
export const F16 = miniFloat(5, 10, 15, 0x7bff);
export const BF16 = miniFloat(8, 7, 127, 0x7f7f);

function miniFloat(exponentBits: number, mantissaBits: number, bias: number, largest: number): MiniFloat {
  const positive = Float64Array.from({ length: largest + 1 }, (_, code) => {
    const exponent = code >> mantissaBits;
    const fraction = (code % 2 ** mantissaBits) / 2 ** mantissaBits;
    return exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias);
  });
  const signBit = 2 ** (exponentBits + mantissaBits);
  return {
    decode: (code) => (code >= signBit ? -positive[code - signBit] : positive[code]),
    encode(value) {
      const size = Math.abs(value);
      let [low, high] = [0, largest];
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (positive[middle] <= size) low = middle;
        else high = middle;
      }
      const [below, above] = [size - positive[low], positive[high] - size];
      const code = below < above || (below === above && low % 2 === 0) ? low : high;
      return value < 0 ? code + signBit : code;
    },
  };
}
