import { expect, test } from "vitest";
import { OutOfMemoryError } from "../../src/errors.ts";
import { SHAPES } from "../../src/models/qwen3-next/shapes.ts";
import { syntheticModel } from "../../src/models/qwen3-next/synthetic.ts";
import { stageRanges } from "../../src/stages/stage-ranges.ts";
import { splitLayers } from "../../src/stages/stage-weights.ts";

test("the costliest stage costs as little as can be", () => {
  const sizes = [1, 1, 1, 5, 1, 1];
  const cost = (_: number, { from, to }: { from: number; to: number }) =>
    sizes.slice(from, to).reduce((sum, size) => sum + size, 0);
  expect(splitLayers(6, 3, cost)).toEqual([
    { from: 0, to: 3 },
    { from: 3, to: 4 },
    { from: 4, to: 6 },
  ]);
  expect(splitLayers(6, 1, cost)).toEqual([{ from: 0, to: 6 }]);
  expect(splitLayers(2, 3, cost)).toBeUndefined();
});

test("the last stage has fewer layers for its head, and none more than it has room for", () => {
  const { config, sources } = syntheticModel(SHAPES["qwen3-next-80b-a3b"]);
  const options = {
    config,
    quantization: "q4",
    maxContext: 4096,
    maxBatchTokens: 512,
    snapshots: 4,
    usableVocabulary: config.vocabularySize,
  } as const;
  const sizes = (memory: readonly (number | undefined)[]) =>
    stageRanges(sources, options, memory).map(({ from, to }) => to - from);
  const [first, last] = sizes([undefined, undefined]);
  expect(first + last).toBe(48);
  expect(first - last).toBeGreaterThan(0);
  // On an H200 the head takes the time of one or two layers.
  expect(first - last).toBeLessThanOrEqual(2);
  expect(sizes([undefined, undefined, undefined])).toHaveLength(3);
  const [small, large] = sizes([16e9, 80e9]);
  expect(small).toBeLessThan(first);
  expect(small + large).toBe(48);
  expect(() => sizes([16e9, 16e9])).toThrow(OutOfMemoryError);
});
