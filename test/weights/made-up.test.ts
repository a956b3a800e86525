import { describe, expect, test } from "vitest";
import { SHAPES } from "../../src/models/qwen3-next/shapes.ts";
import { syntheticModel } from "../../src/models/qwen3-next/synthetic.ts";
import { decodeRows } from "../../src/weights/decode.ts";
import type { WeightFormat } from "../../src/weights/format.ts";
import { madeUpSource } from "../../src/weights/made-up.ts";

const { sources } = syntheticModel({ ...SHAPES["qwen3-next-80b-a3b"], hidden_size: 256, vocab_size: 512 });

describe.each<WeightFormat>(["q4", "q4a", "q8", "bf16", "f16", "f32"])("made-up %s", (format) => {
  const source = madeUpSource(sources.embedding, format);
  const values = async (from: number, to: number) => decodeRows(await source.read(from, to));

  test("has rows of its own that are the same in every read, of a size that keeps that of inputs", async () => {
    const all = await values(0, 512);
    expect(await values(16, 40)).toEqual(all.slice(16 * 256, 40 * 256));
    const rows = new Set(Array.from({ length: 512 }, (_, row) => all.slice(row * 256, row * 256 + 256).join()));
    expect(rows.size).toBe(512);
    const meanSquare = all.reduce((sum, value) => sum + value * value, 0) / all.length;
    expect(meanSquare * 256).toBeGreaterThan(0.9);
    expect(meanSquare * 256).toBeLessThan(1.15);
    expect(Math.abs(all.reduce((sum, value) => sum + value, 0) / all.length) * 16).toBeLessThan(0.05);
  });
});
