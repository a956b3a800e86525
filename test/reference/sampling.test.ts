import { describe, expect, it } from "vitest";
import { randomAt } from "../../src/reference/random.ts";
import { IN_PROMPT, keptTokens, processLogits, type Sampling, sampleToken } from "../../src/reference/sampling.ts";

const PLAIN: Sampling = {
  temperature: 1,
  topK: 0,
  topP: 1,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  logitBias: new Map(),
};

const logitsOf = (...probabilities: number[]) => Float32Array.from(probabilities, Math.log);

describe("processLogits", () => {
  const logits = new Float32Array([2, -2, 1, 0.5]);
  const counts = new Uint32Array([IN_PROMPT, 1, 3 + IN_PROMPT, 0]);

  it("adds the bias before anything else", () => {
    const sampling = {
      ...PLAIN,
      repetitionPenalty: 2,
      logitBias: new Map([
        [0, -4],
        [3, 1],
      ]),
    };
    expect([...processLogits(logits, sampling, counts)]).toEqual([-4, -4, 0.5, 1.5]);
  });

  it("penalises repetition of prompt and reply, frequency and presence of the reply only", () => {
    const sampling = { ...PLAIN, repetitionPenalty: 2, frequencyPenalty: 0.5, presencePenalty: 0.25 };
    expect([...processLogits(logits, sampling, counts)]).toEqual([1, -4.75, -1.25, 0.5]);
  });
});

describe("sampleToken", () => {
  it("takes the largest logit at temperature 0, of equal ones the lower id", () => {
    expect(sampleToken(new Float32Array([1, 3, 3, 2]), { ...PLAIN, temperature: 0 }, 0.99)).toBe(1);
  });

  it("walks the running sum in ascending order of ids", () => {
    const logits = logitsOf(0.1, 0.6, 0.3);
    const drawn = [0, 0.099, 0.101, 0.699, 0.701, 0.999999].map((u) => sampleToken(logits, PLAIN, u));
    expect(drawn).toEqual([0, 0, 1, 1, 2, 2]);
  });

  it("never draws a token without a share", () => {
    expect(sampleToken(new Float32Array([-1e30, 1, 1, -1e30]), PLAIN, 0)).toBe(1);
  });

  it("sharpens with the temperature before it cuts", () => {
    const logits = logitsOf(0.5, 0.3, 0.2);
    const sampling = { ...PLAIN, topP: 0.6 };
    expect(sampleToken(logits, sampling, 0.999)).toBe(1);
    expect(sampleToken(logits, { ...sampling, temperature: 0.5 }, 0.999)).toBe(0);
  });

  it("keeps the lower id where topK cuts between equals", () => {
    const drawn = [0, 0.5, 0.999].map((u) => sampleToken(logitsOf(0.2, 0.4, 0.2, 0.2), { ...PLAIN, topK: 2 }, u));
    expect(drawn).toEqual([0, 1, 1]);
  });

  it("draws as often as the probabilities say", () => {
    const logits = logitsOf(0.1, 0.6, 0.3);
    const counts = [0, 0, 0];
    for (let i = 0; i < 20000; i++) counts[sampleToken(logits, PLAIN, randomAt(42, i))]++;
    for (const [id, share] of [0.1, 0.6, 0.3].entries()) expect(counts[id] / 20000).toBeCloseTo(share, 1.9);
  });
});

describe("keptTokens", () => {
  const shares = [1, 0.5, 0.25, 0.25];

  it.each([
    [{}, 4],
    [{ topK: 3 }, 3],
    [{ topK: 9 }, 4],
    [{ topP: 0.5 }, 1],
    [{ topP: 0.51 }, 2],
    // Shares of the two that topK left: 2/3 and 1/3.
    [{ topK: 2, topP: 0.66 }, 1],
    [{ topK: 2, topP: 0.67 }, 2],
    [{ minP: 0.3 }, 2],
    [{ minP: 1 }, 1],
    [{ topP: 1e-9 }, 1],
  ])("of %j keeps %i", (cuts, kept) => {
    expect(keptTokens(shares, { ...PLAIN, ...cuts })).toBe(kept);
  });
});

describe("randomAt", () => {
  it("is the hash that its comment defines", () => {
    const mix = (value: bigint) => {
      const u32 = (x: bigint) => BigInt.asUintN(32, x);
      let x = u32(value);
      x ^= x >> 16n;
      x = u32(x * 0x7feb352dn);
      x ^= x >> 15n;
      x = u32(x * 0x846ca68bn);
      return x ^ (x >> 16n);
    };
    for (const seed of [0, 1, 2 ** 31, 2 ** 32 - 1]) {
      for (const index of [0, 1, 4095, 2 ** 20]) {
        const bits = mix(BigInt(seed) + mix(BigInt(index) + 0x9e3779b9n));
        expect(randomAt(seed, index)).toBe(Number(bits >> 8n) * 2 ** -24);
      }
    }
  });

  it("is spread evenly, for neighbouring seeds and indices alike", () => {
    const bins = new Array(16).fill(0);
    for (let seed = 0; seed < 64; seed++) {
      for (let index = 0; index < 256; index++) bins[Math.floor(randomAt(seed, index) * 16)]++;
    }
    // 1024 expected in each, standard deviation 31.
    for (const bin of bins) expect(Math.abs(bin - 1024)).toBeLessThan(160);
  });
});
