import { describe, expect, it } from "vitest";
import { BlockPool } from "../../src/engine/block-pool.ts";
import { PrefixTree, type Snapshot } from "../../src/engine/prefix-tree.ts";
import { random } from "../support/random.ts";

const BLOCK = 4;

describe("PrefixTree", () => {
  it("finds what a list of all snapshots would, whatever comes and goes", () => {
    for (let seed = 0; seed < 30; seed++) compareWithList(seed);
  });

  it("notices where prompts part, also within a label and after the state is gone", () => {
    const tree = new PrefixTree(new BlockPool(8), [0], 1000);
    tree.add([1, 2, 3, 4, 5]);
    expect(tree.find([1, 2, 3, 9])).toEqual({ shared: 3 });
    tree.add([1, 2, 3, 9]);
    expect(tree.find([1, 2, 3, 4, 5, 6])).toEqual({ shared: 5 });
    expect(tree.find([7])).toEqual({ shared: 0 });
    tree.clear();
    expect(tree.find([1, 2, 3])).toEqual({ shared: 0 });
  });

  it("leaves a token to read", () => {
    const blocks = new BlockPool(8);
    const tree = new PrefixTree(blocks, [5], 1000);
    const snapshot = { length: 3, slot: tree.takeSlot()!, blocks: blocks.take(1) };
    tree.publish([1, 2, 3], snapshot);
    expect(tree.find([1, 2, 3]).snapshot).toBeUndefined();
    expect(tree.find([1, 2, 3, 4]).snapshot).toBe(snapshot);
  });

  it("gives up the longest unused", () => {
    const blocks = new BlockPool(8);
    const tree = new PrefixTree(blocks, [0, 1], 1000);
    const publish = (token: number) =>
      tree.publish([token], { length: 1, slot: tree.takeSlot()!, blocks: blocks.take(1) });
    publish(1);
    publish(2);
    tree.find([1, 9]);
    publish(3);
    expect([1, 2, 3].map((token) => tree.find([token, 9]).snapshot !== undefined)).toEqual([true, false, true]);
    tree.evictFor(7);
    expect([1, 3].map((token) => tree.find([token, 9]).snapshot !== undefined)).toEqual([false, true]);
    expect(blocks.free).toBe(7);
  });

  it("forgets tokens that are too many", () => {
    const tree = new PrefixTree(new BlockPool(1), [], 100);
    for (let i = 0; i < 1000; i++) tree.add([i, i + 1, i + 2, i + 3]);
    expect(tree.find([999, 1000, 1001, 1002]).shared).toBe(4);
    expect(tree.find([500, 501]).shared).toBe(0);
  });
});

/** A naive map of the same: every snapshot by its tokens. */
function compareWithList(seed: number): void {
  const next = random(seed);
  const below = (n: number) => Math.floor(next() * n);
  const blocks = new BlockPool(20);
  const slots = [0, 1, 2, 3, 4];
  const tree = new PrefixTree(blocks, slots, 400);
  const known = new Map<string, Snapshot>();
  const tokensOf = (): number[] => Array.from({ length: 1 + below(12) }, () => below(2));
  for (let i = 0; i < 400; i++) {
    const tokens = tokensOf();
    if (next() < 0.5) {
      const longest = [...tokens.keys()].reverse().find((length) => held(tree, tokens.slice(0, length)));
      expect(tree.find(tokens).snapshot?.length).toBe(longest || undefined);
      continue;
    }
    const count = Math.ceil(tokens.length / BLOCK);
    tree.evictFor(count);
    const slot = tree.takeSlot()!;
    const snapshot = { length: tokens.length, slot, blocks: blocks.take(count) };
    const before = held(tree, tokens);
    tree.publish([...tokens, 1, 0], snapshot);
    known.set(tokens.join(), snapshot);
    expect(held(tree, tokens)).toBe(before ?? snapshot);
    expect(tree.snapshots).toBeLessThanOrEqual(slots.length);
    // Nobody else holds blocks here.
    expect(blocks.free + tree.reclaimable).toBe(blocks.total);
  }
  tree.clear();
  expect(blocks.free).toBe(blocks.total);
  expect(tree.reclaimable).toBe(0);
  expect(slots.map(() => tree.takeSlot()).sort()).toEqual(slots);
}

/** The snapshot of exactly these tokens. */
function held(tree: PrefixTree, tokens: readonly number[]): Snapshot | undefined {
  const { snapshot } = tree.find([...tokens, 7]);
  return snapshot?.length === tokens.length ? snapshot : undefined;
}
