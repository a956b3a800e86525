import { describe, expect, test } from "vitest";
import { normals } from "../../support/random.ts";
import { SamplingCase, sampling } from "./sampling-case.ts";

const INACTIVE = 0xffffffff;
const vocabulary = 50;

describe("advance", () => {
  test.each([1, 3, 65])("makes a decode step of %i sequences after a prefill", async (count) => {
    const drawers = Array.from({ length: count }, (_, s) => ({ sampling: sampling({ seed: s }), rows: 1 + (s % 4) }));
    const drawn = await SamplingCase.create({ vocabulary, drawers, logits: normals(count * vocabulary, 1) });
    const before = await drawn.batch();
    expect(before.rows).toBe(drawers.reduce((sum, { rows }) => sum + rows, 0));
    for (let step = 0; step < 3; step++) {
      const tokens = (await drawn.step()).map((result) => result!.token);
      expect(await drawn.batch()).toEqual({
        rows: count,
        sequences: count,
        tokens,
        positions: drawers.map(({ rows }) => 5 + rows + step),
        sequenceOf: drawers.map((_, s) => s),
        starts: Array.from({ length: count + 1 }, (_, s) => s),
        slots: before.slots,
      });
    }
    drawn.dispose();
  });

  test("ends a reply after maxTokens, and then nothing of the sequence changes", async () => {
    const drawers = [
      { sampling: sampling({ maxTokens: 2 }), rows: 3 },
      { sampling: sampling({ maxTokens: 4 }) },
      { sampling: sampling({ maxTokens: 1 }), rows: 2 },
    ];
    const drawn = await SamplingCase.create({ vocabulary, drawers, logits: normals(3 * vocabulary, 2) });
    const lasts: (boolean | undefined)[][] = [];
    let kept: number[] = [];
    for (let step = 0; step < 5; step++) {
      lasts.push((await drawn.step()).map((result) => result?.isLast));
      const { positions, tokens } = await drawn.batch();
      expect(positions).toEqual([step < 1 ? 8 + step : INACTIVE, step < 3 ? 6 + step : INACTIVE, INACTIVE]);
      if (step === 3) kept = tokens;
      if (step > 3) expect(tokens).toEqual(kept);
    }
    expect(lasts).toEqual([
      [false, false, true],
      [true, false, undefined],
      [undefined, false, undefined],
      [undefined, true, undefined],
      [undefined, undefined, undefined],
    ]);
    const counts = await Promise.all(drawers.map((_, s) => drawn.counts(s)));
    expect(counts.map((c) => c.reduce((a, b) => a + b))).toEqual([2, 4, 1]);
    drawn.dispose();
  });

  test("ends a reply at any of its stop ids, but not at another's", async () => {
    const logits = new Float32Array(4 * vocabulary);
    [7, 7, 9, 40].forEach((best, s) => {
      logits[s * vocabulary + best] = 5;
    });
    const many = Array.from({ length: 16 }, (_, i) => 25 + i);
    const drawers = [[7], [9], [1, 9], many].map((stopIds) => ({ sampling: sampling({ temperature: 0, stopIds }) }));
    const drawn = await SamplingCase.create({ vocabulary, drawers, logits });
    expect((await drawn.step()).map((result) => result?.isLast)).toEqual([true, false, true, true]);
    expect((await drawn.step()).map((result) => result?.token)).toEqual([undefined, 7, undefined, undefined]);
    drawn.dispose();
  });

  test("gives the next index of the random numbers to each step", async () => {
    const drawers = [{ sampling: sampling({ seed: 9 }) }, { sampling: sampling({ seed: 10, topK: 20, topP: 0.9 }) }];
    const drawn = await SamplingCase.create({ vocabulary, drawers, logits: normals(2 * vocabulary, 3) });
    for (let i = 0; i < 20; i++) await drawn.check();
    expect(drawn.moved).toBe(0);
    drawn.dispose();
  });
});
