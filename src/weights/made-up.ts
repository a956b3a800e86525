import {
  dataBytes,
  isQuantized,
  type QuantizedFormat,
  scaleBytes,
  type WeightFormat,
  type WeightSource,
} from "./format.ts";
import { floatToHalf } from "./half.ts";

/** Root mean square of uniformly random levels (of q4a: about their middle). */
export const LEVEL_DEVIATION = { q4: 4.64, q4a: 4.61, q8: 73.9 };

/** Norms are 1, decay is slow in some heads and quick in others, the convolution looks at its newest inputs most. */
export function madeUpVector(label: string, size: number): Float32Array<ArrayBuffer> {
  if (label.endsWith("A_log")) return Float32Array.from({ length: size }, (_, i) => -0.02 * 1.2 ** (i % 24));
  if (label.endsWith("dt_bias")) return new Float32Array(size);
  if (label.includes("conv1d")) return Float32Array.from({ length: size }, (_, i) => [0.1, -0.2, 0.4, 0.8][i % 4]);
  return new Float32Array(size).fill(1);
}

export function seedOf(label: string): number {
  let seed = 0;
  for (const letter of label) seed = (Math.imul(seed, 31) + letter.charCodeAt(0)) >>> 0;
  return seed;
}

/**
 * The same matrix with weights made up as they are read, in `format`: seeded by its name, and scaled so that it keeps the size of
 * what it multiplies. Faster than disks: a matrix is the same few megabytes of random numbers again and again.
 */
export function madeUpSource(source: WeightSource, format: WeightFormat): WeightSource {
  const { label, role, columns } = source;
  const deviation = 1 / Math.sqrt(columns);
  return {
    ...source,
    auto: undefined,
    format,
    async read(from, to) {
      const elements = (to - from) * columns;
      const shape = { format, rows: to - from, columns };
      if (role === "vector") {
        const values = madeUpVector(label, source.rows * columns).slice(from * columns, to * columns);
        return { ...shape, data: new Uint8Array(values.buffer) };
      }
      const before = from * columns;
      const cut = (pool: Uint8Array, skipped: number, bytes: number) =>
        cutFrom(pool, (4 * seedOf(label) + skipped) % pool.length, bytes);
      const data = cut(numbers(format, deviation), dataBytes(format, before), dataBytes(format, elements));
      if (!isQuantized(format)) return { ...shape, data };
      const scales = cut(scalesOf(format, deviation), scaleBytes(format, before), scaleBytes(format, elements));
      return { ...shape, data, scales };
    },
  };
}

/** Numbers of a pool: fewer than are slow to make, and a prime, so that no two rows are alike. */
const POOL = 2 ** 21 - 9;
const SCALE_POOL = 2 ** 19 - 1;

const pools = new Map<string, Uint8Array>();

/** Elements as `format` has them: levels of any bits, or numbers uniform in ± √3 · `deviation`. */
function numbers(format: WeightFormat, deviation: number): Uint8Array {
  if (isQuantized(format)) return pool("levels", () => new Uint8Array(randomWords(POOL).buffer));
  return pool(`${format} ${deviation}`, () => {
    const values = Float32Array.from(randomWords(POOL), (word) => (word / 2 ** 31 - 1) * Math.sqrt(3) * deviation);
    if (format === "f32") return new Uint8Array(values.buffer);
    const words = new Uint32Array(values.buffer);
    const halves =
      format === "bf16" ? Uint16Array.from(words, (word) => word >>> 16) : Uint16Array.from(values, floatToHalf);
    return new Uint8Array(halves.buffer);
  });
}

/** Scales of either sign, since one-signed ones would make all outputs alike; in q4a each with the min that centres its levels. */
function scalesOf(format: QuantizedFormat, deviation: number): Uint8Array {
  return pool(`${format} scales ${deviation}`, () => {
    const size = deviation / LEVEL_DEVIATION[format];
    const scales = Float32Array.from(
      randomWords(SCALE_POOL),
      (word) => size * (0.75 + word / 2 ** 33) * (word & 1 ? 1 : -1),
    );
    const pairs = format === "q4a" ? [...scales].flatMap((scale) => [scale, -7.5 * scale]) : scales;
    return new Uint8Array(Uint16Array.from(pairs, floatToHalf).buffer);
  });
}

function pool(key: string, make: () => Uint8Array): Uint8Array {
  const made = pools.get(key) ?? make();
  pools.set(key, made);
  return made;
}

/** `bytes` of a pool, which begins anew where it ends, from byte `at` on; whole words in all. */
function cutFrom(pool: Uint8Array, at: number, bytes: number): Uint8Array {
  const target = new Uint8Array(Math.ceil(bytes / 4) * 4);
  let from = at;
  for (let done = 0; done < bytes; from = 0) {
    const piece = pool.subarray(from, from + bytes - done);
    target.set(piece, done);
    done += piece.length;
  }
  return target;
}

/** xorshift32 */
function randomWords(count: number): Uint32Array<ArrayBuffer> {
  let state = 0x2545f491;
  return new Uint32Array(count).map(() => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state;
  });
}
