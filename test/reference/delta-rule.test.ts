import { describe, it } from "vitest";
import { chunkTerms, deltaRuleChunked } from "../../src/reference/delta-chunk.ts";
import { type DeltaTokens, deltaRule } from "../../src/reference/delta-rule.ts";
import { expectClose } from "../support/compare.ts";
import { normals } from "../support/random.ts";

// A worked example with keyDim = valueDim = 2; keys count as normalised (docs/architecture.md, golden values).
const EXAMPLE: DeltaTokens = {
  q: new Float64Array([1, 0, 0, 1, 0.6, 0.8]).map((x) => x / Math.SQRT2),
  k: new Float64Array([1, 0, 0.6, 0.8, 0, 1]),
  v: new Float64Array([1, 2, 3, -1, 0.5, 0.5]),
  beta: new Float64Array([0.5, 1, 0.25]),
  g: new Float64Array([-0.1, -0.5, 0]),
};
const OUTPUTS = [0.35355339, Math.SQRT1_2, 1.59412461, -0.77154876, 1.8732061, -0.48208635];
const FINAL_STATE = [1.99408981, -0.21182038, 1.81582448, -0.69335104];

describe("the gated delta rule", () => {
  it.each([
    ["token by token", deltaRule],
    ["in one chunk", deltaRuleChunked],
    ["in chunks of two", (tokens: DeltaTokens, S: Float32Array) => deltaRuleChunked(tokens, S, 2)],
  ])("solves the worked example %s", (_, rule) => {
    const S = new Float32Array(4);
    expectClose(rule(EXAMPLE, S), OUTPUTS, 1e-7);
    expectClose(S, FINAL_STATE, 1e-7);
  });

  it("has the chunk terms of the worked example", () => {
    const { gamma, A, T, U, W } = chunkTerms(EXAMPLE);
    expectClose(gamma, [-0.1, -0.6, -0.6], 1e-7);
    expectClose(A, [0, 0, 0, 0.3639184, 0, 0, 0, 0.2, 0], 1e-7);
    expectClose(T, [1, 0, 0, -0.3639184, 1, 0, 0.07278368, -0.2, 1], 1e-7);
    expectClose(U, [0.5, 1, 2.8180408, -1.3639184, -0.43860816, 0.39778368], 1e-7);
    expectClose(W, [0.45241871, 0, 0.16464349, 0.43904931, -0.0329287, 0.04939305], 1e-6);
  });

  it.each([1, 3, 63, 64, 65, 130])("is the same in chunks over %i tokens, from any state", (count) => {
    for (const initial of [new Float32Array(24 * 8), normals(24 * 8, 7)]) {
      const tokens = randomTokens(count, 24, 8);
      const [S, chunkedS] = [initial.slice(), initial.slice()];
      const o = deltaRule(tokens, S);
      expectClose(deltaRuleChunked(tokens, chunkedS), o, 1e-6, "outputs");
      expectClose(chunkedS, S, 1e-6, "state");
    }
  });

  it("survives a decay that leaves nothing", () => {
    const tokens = { ...randomTokens(130, 24, 8), g: new Float64Array(130).fill(-40) };
    const [S, chunkedS] = [normals(24 * 8, 7), normals(24 * 8, 7)];
    expectClose(deltaRuleChunked(tokens, chunkedS), deltaRule(tokens, S), 1e-6);
    expectClose(chunkedS, S, 1e-6);
  });
});

function randomTokens(count: number, keyDim: number, valueDim: number): DeltaTokens {
  const unitRows = (seed: number, scale: number) => {
    const rows = Float64Array.from(normals(count * keyDim, seed));
    for (let t = 0; t < count; t++) {
      const row = rows.subarray(t * keyDim, (t + 1) * keyDim);
      const length = Math.hypot(...row);
      row.forEach((x, i) => {
        row[i] = (x / length) * scale;
      });
    }
    return rows;
  };
  return {
    q: unitRows(1, keyDim ** -0.5),
    k: unitRows(2, 1),
    v: Float64Array.from(normals(count * valueDim, 3)),
    beta: Float64Array.from(normals(count, 4), (x) => 1 / (1 + Math.exp(-x))),
    g: Float64Array.from(normals(count, 5), (x) => -Math.abs(x)),
  };
}
