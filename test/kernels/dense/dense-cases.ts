import { encodeRows } from "../../../src/weights/convert.ts";
import { decodeRows } from "../../../src/weights/decode.ts";
import type { WeightFormat, WeightRows } from "../../../src/weights/format.ts";
import type { KernelHarness } from "../../support/kernel-harness.ts";
import { normals } from "../../support/random.ts";

/** Every sum of a workgroup has a version through subgroups and one without. */
export const TIERS = [
  { tier: "subgroups", without: {} },
  { tier: "no subgroups", without: { subgroups: true } },
] as const;

export const FORMATS: readonly WeightFormat[] = ["f32", "f16", "bf16", "q8", "q4", "q4a"];

const made = new Map<string, { readonly encoded: WeightRows; readonly values: Float32Array<ArrayBuffer> }>();

/** Seeded weights in a format, and the numbers that they stand for; made once, as encoding takes its time. */
export function makeWeight(format: WeightFormat, rows: number, columns: number, seed: number) {
  const key = [format, rows, columns, seed].join();
  const known = made.get(key);
  if (known) return known;
  const encoded = encodeRows(normals(rows * columns, seed, columns ** -0.5), columns, format, "test");
  const weight = { encoded, values: decodeRows(encoded) };
  made.set(key, weight);
  return weight;
}

/** A batch of sequences with so many rows each; token ids count up in steps of 7 within `vocabulary`. */
export function writeRows(harness: KernelHarness, rows: readonly number[], vocabulary = 1): number[] {
  let next = 0;
  const sequences = rows.map((count, slot) => {
    const tokens = Array.from({ length: count }, () => (next = (next + 7) % vocabulary));
    return { tokens, position: 0, slot, blocks: Array.from({ length: Math.ceil(count / 64) }, (_, i) => i) };
  });
  harness.writeBatch(sequences);
  return sequences.flatMap((sequence) => sequence.tokens);
}
