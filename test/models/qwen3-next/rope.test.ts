import { describe, expect, it } from "vitest";
import { ropeFrequencies, ropeRows } from "../../../src/models/qwen3-next/rope.ts";
import { ropeConfig } from "../../../src/models/qwen3-next/rope-config.ts";

const plain = { rope_theta: 1e7, partial_rotary_factor: 0.25 };
const yarn = { ...plain, rope_type: "yarn", factor: 4, original_max_position_embeddings: 262144 };
const rope = (parameters: object) => ropeFrequencies(ropeConfig({ rope_parameters: parameters }, 256));

const expectFrequencies = (actual: Float32Array, expected: readonly (readonly [number, number])[]) => {
  for (const [i, frequency] of expected) {
    expect(Math.abs(actual[i] / frequency - 1), `frequency ${i}: ${actual[i]}`).toBeLessThan(2e-7);
  }
};

describe("ropeFrequencies", () => {
  it("falls geometrically from 1", () => {
    const { inverseFrequencies, magnitude } = rope(plain);
    expect(inverseFrequencies.length).toBe(32);
    expect(magnitude).toBe(1);
    expectFrequencies(inverseFrequencies, [
      [0, 1],
      [1, 0.6042964],
      [2, 0.3651741],
      [8, 0.017782794],
      [16, 3.1622776e-4],
      [24, 5.6234135e-6],
      [31, 1.6548171e-7],
    ]);
  });

  it("keeps the fast and stretches the slow ones under YaRN", () => {
    const { inverseFrequencies, magnitude } = rope(yarn);
    expect(magnitude).toBeCloseTo(1.138629, 6);
    expectFrequencies(inverseFrequencies, [
      [1, 0.6042964],
      [14, 8.659643e-4],
      [15, 4.742398e-4],
      [18, 7.217387e-5],
      [21, 8.75977e-6],
      [22, 3.849816e-6],
      [31, 4.137043e-8],
    ]);
  });
});

describe("ropeRows", () => {
  it("holds the cosines of all pairs, then the sines, scaled", () => {
    const model = rope(yarn);
    const rows = ropeRows(model, 1000, 2);
    expect(rows.length).toBe(2 * 64);
    const angle = Math.fround(1001 * model.inverseFrequencies[1]);
    expect(rows[64 + 1]).toBe(Math.fround(Math.cos(angle) * model.magnitude));
    expect(rows[64 + 32 + 1]).toBe(Math.fround(Math.sin(angle) * model.magnitude));
  });

  it("does not move position 0", () => {
    expect([...ropeRows(rope(plain), 0)]).toEqual([...Array(32).fill(1), ...Array(32).fill(0)]);
  });
});
