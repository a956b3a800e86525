import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import { decodeRows } from "../weights/decode.ts";
import type { WeightSource } from "../weights/format.ts";

/** Tells models apart, not formats of the same one: a hash of the final norm, which no format quantises. */
export async function fingerprint({ finalNorm, layers }: ModelWeights<WeightSource>): Promise<string> {
  const { weight } = finalNorm;
  const values = decodeRows(await weight.read(0, weight.rows));
  // FNV-1a; 0 and -0 are the same weight.
  let hash = 0x811c9dc5;
  for (const word of new Uint32Array(Float32Array.from(values, (value) => value + 0).buffer)) {
    for (let shift = 0; shift < 32; shift += 8) hash = Math.imul(hash ^ ((word >>> shift) & 0xff), 0x01000193);
  }
  return `${layers.length}x${values.length}-${(hash >>> 0).toString(16)}`;
}
