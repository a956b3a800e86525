import { expect, test } from "vitest";
import { PrefixIndex, prefixBlocks } from "../../src/workers/prefix-index.ts";

const tokens = (count: number, from = 0) => Array.from({ length: count }, (_, i) => from + i);

test("a block's hash is of all that comes before as well", () => {
  const blocks = prefixBlocks(tokens(200));
  expect(blocks).toHaveLength(3);
  expect(prefixBlocks(tokens(128))).toEqual(blocks.slice(0, 2));
  expect(prefixBlocks([...tokens(64), ...tokens(64, 500)])[0]).toBe(blocks[0]);
  expect(prefixBlocks([99, ...tokens(199, 1)]).some((hash) => blocks.includes(hash))).toBe(false);
  expect(prefixBlocks("x".repeat(600))).toHaveLength(2);
  expect(prefixBlocks("short")).toEqual([]);
});

test("knows how much of a prompt each worker has read", () => {
  const index = new PrefixIndex(2, 100);
  index.add(0, [1, 2, 3]);
  index.add(1, [1, 9]);
  expect([0, 1].map((worker) => index.match(worker, [1, 2, 4]))).toEqual([2, 1]);
  expect(index.match(0, [2, 3])).toBe(2);
  index.forget(0);
  expect([0, 1].map((worker) => index.match(worker, [1, 2]))).toEqual([0, 1]);
});

test("forgets the oldest, and ends before beginnings", () => {
  const index = new PrefixIndex(1, 4);
  index.add(0, [1, 2, 3]);
  index.add(0, [1, 5, 6]);
  expect(index.match(0, [1, 5, 6])).toBe(3);
  expect(index.match(0, [1, 2, 3])).toBe(2);
});
