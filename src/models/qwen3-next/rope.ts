import type { RopeConfig } from "./rope-config.ts";

/** Rotation speeds, one per pair of dimensions, and the factor on cosine and sine. */
export interface Rope {
  readonly inverseFrequencies: Float32Array;
  readonly magnitude: number;
}

export function ropeFrequencies({ theta, rotaryDim, yarn }: RopeConfig): Rope {
  const plain = Float64Array.from({ length: rotaryDim / 2 }, (_, i) => theta ** ((-2 * i) / rotaryDim));
  if (!yarn) return { inverseFrequencies: Float32Array.from(plain), magnitude: 1 };

  // YaRN: the dimension that turns `turns` times within the original context.
  const dimension = (turns: number) =>
    (rotaryDim * Math.log(yarn.originalPositions / (2 * Math.PI * turns))) / (2 * Math.log(theta));
  const [first, last] = [dimension(yarn.betaFast), dimension(yarn.betaSlow)];
  const low = Math.max(yarn.truncate ? Math.floor(first) : first, 0);
  const high = Math.min(yarn.truncate ? Math.ceil(last) : last, rotaryDim - 1);
  const width = high === low ? 0.001 : high - low;
  const stretched = plain.map((frequency, i) => {
    const ramp = Math.min(Math.max((i - low) / width, 0), 1);
    return (frequency / yarn.factor) * ramp + frequency * (1 - ramp);
  });
  return { inverseFrequencies: Float32Array.from(stretched), magnitude: yarn.magnitude };
}

/**
 * Positions [from, from + count): rows of rotaryDim numbers, the cosines of all pairs, then the sines. Angles are rounded
 * to f32 as the model's code does; cosine and sine are taken in f64, because a GPU's own are only good to 2⁻¹¹.
 */
export function ropeRows({ inverseFrequencies, magnitude }: Rope, from: number, count = 1): Float32Array<ArrayBuffer> {
  const pairs = inverseFrequencies.length;
  const rows = new Float32Array(count * 2 * pairs);
  for (let row = 0; row < count; row++) {
    for (let i = 0; i < pairs; i++) {
      const angle = Math.fround((from + row) * inverseFrequencies[i]);
      rows[row * 2 * pairs + i] = Math.cos(angle) * magnitude;
      rows[row * 2 * pairs + pairs + i] = Math.sin(angle) * magnitude;
    }
  }
  return rows;
}
