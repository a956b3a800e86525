import type { BlockPool } from "./block-pool.ts";
import type { HostCache, HostCopy } from "./host-cache.ts";

/** A sequence's state after its first `length` tokens: it never changes, and is good for exactly these tokens. */
export interface Snapshot {
  readonly length: number;
  /** The slot that holds the recurrent state. */
  readonly slot: number;
  /** KV blocks of the tokens; the last may hold others' tokens behind them. */
  readonly blocks: readonly number[];
}

export interface Match {
  /** The longest that is a prefix and leaves at least one token to read. */
  readonly snapshot?: Snapshot;
  /** The same of those that are on the host. */
  readonly copy?: HostCopy;
  /** Tokens that some earlier prompt or reply has in common, whether a state is left of them or not. */
  readonly shared: number;
}

interface Node {
  /** Tokens between the parent and here. */
  label: readonly number[];
  parent: Node | undefined;
  readonly children: Map<number, Node>;
  snapshot?: Snapshot;
  copy?: HostCopy;
  usedAt: number;
}

/**
 * What has been read, as a radix tree over token ids. Some nodes have a snapshot. Tokens stay for a while after their
 * state is gone, so that the tree notices where prompts part. A KV cache without a recurrent state at its end cannot be
 * gone on from, so blocks are held by snapshots; those of different nodes share the blocks of their common prefix.
 */
export class PrefixTree {
  readonly #blocks: BlockPool;
  readonly #maxTokens: number;
  readonly #freeSlots: number[];
  readonly #hosts: HostCache | undefined;
  /** Nodes with a snapshot, the longest unused first. */
  readonly #kept = new Set<Node>();
  /** Snapshots that hold a block. */
  readonly #holders = new Map<number, number>();
  #root: Node = newNode([], undefined);
  #tokens = 0;
  #clock = 0;

  /**
   * @param slots for snapshots
   * @param maxTokens to remember, with or without a state
   * @param hosts takes what has to make room
   */
  constructor(blocks: BlockPool, slots: readonly number[], maxTokens: number, hosts?: HostCache) {
    this.#blocks = blocks;
    this.#freeSlots = [...slots];
    this.#maxTokens = maxTokens;
    this.#hosts = hosts;
  }

  get snapshots(): number {
    return this.#kept.size;
  }

  /** Blocks that nobody but snapshots holds: they can be had by evicting. */
  get reclaimable(): number {
    let count = 0;
    for (const [block, holders] of this.#holders) if (this.#blocks.holders(block) === holders) count++;
    return count;
  }

  find(tokens: readonly number[]): Match {
    let snapshot: Snapshot | undefined;
    let copy: HostCopy | undefined;
    const { path, shared } = this.#walk(tokens);
    for (const node of path) {
      node.usedAt = ++this.#clock;
      if (node.copy && node.copy.length < tokens.length && this.#hosts!.isReady(node.copy)) {
        copy = node.copy;
        this.#hosts!.touch(copy);
      }
      if (!node.snapshot || node.snapshot.length >= tokens.length) continue;
      snapshot = node.snapshot;
      this.#kept.delete(node);
      this.#kept.add(node);
    }
    return { snapshot, copy, shared };
  }

  /** Remembers tokens without a state. */
  add(tokens: readonly number[]): void {
    this.#node(tokens);
    if (this.#tokens > this.#maxTokens) this.#forget();
  }

  /** A slot to copy a state to; the snapshot unused longest makes room. Undefined where there are none. */
  takeSlot(): number | undefined {
    if (this.#freeSlots.length === 0) this.#evict(this.#kept.values().next().value);
    return this.#freeSlots.pop();
  }

  /** Takes over a snapshot of the first tokens, which must hold its blocks. One that is there already is kept instead. */
  publish(tokens: readonly number[], snapshot: Snapshot): void {
    const node = this.#node(tokens.slice(0, snapshot.length));
    if (node.snapshot) {
      this.discard(snapshot);
      return;
    }
    node.snapshot = snapshot;
    this.#kept.add(node);
    for (const block of snapshot.blocks) this.#holders.set(block, (this.#holders.get(block) ?? 0) + 1);
    if (this.#tokens > this.#maxTokens) this.#forget();
  }

  /** Frees what a snapshot outside the tree holds. */
  discard({ slot, blocks }: Snapshot): void {
    this.#freeSlots.push(slot);
    this.#blocks.release(blocks);
  }

  /** Frees blocks until `count` are free, the longest unused snapshots first that hold any for themselves. */
  evictFor(count: number): void {
    while (this.#blocks.free < count && this.#kept.size > 0) {
      const frees = ({ snapshot }: Node) => snapshot!.blocks.some((block) => this.#blocks.holders(block) === 1);
      this.#evict([...this.#kept].find(frees) ?? this.#kept.values().next().value);
    }
  }

  /** Forgets all. */
  clear(): void {
    for (const node of [...this.#kept]) this.#remove(node);
    this.#hosts?.clear();
    this.#root = newNode([], undefined);
    this.#tokens = 0;
  }

  #evict(node: Node | undefined): void {
    if (!node) return;
    node.copy ??= this.#hosts?.save(node.snapshot!, () => {
      node.copy = undefined;
    });
    this.#remove(node);
  }

  #remove(node: Node): void {
    const snapshot = node.snapshot!;
    node.snapshot = undefined;
    this.#kept.delete(node);
    for (const block of snapshot.blocks) {
      const holders = this.#holders.get(block)! - 1;
      if (holders > 0) this.#holders.set(block, holders);
      else this.#holders.delete(block);
    }
    this.discard(snapshot);
  }

  /** Nodes whose tokens are all a prefix of `tokens`, and how many tokens agree, the last part of a label included. */
  #walk(tokens: readonly number[]): { path: Node[]; shared: number } {
    const path = [this.#root];
    let shared = 0;
    for (;;) {
      const child = path.at(-1)!.children.get(tokens[shared]);
      if (!child || shared >= tokens.length) return { path, shared };
      const common = commonLength(child.label, tokens, shared);
      shared += common;
      if (common < child.label.length) return { path, shared };
      path.push(child);
    }
  }

  /** The node of exactly these tokens, made where there is none. */
  #node(tokens: readonly number[]): Node {
    const { path, shared } = this.#walk(tokens);
    const parent = path.at(-1)!;
    const depth = path.reduce((sum, { label }) => sum + label.length, 0);
    let node = parent;
    if (shared > depth) node = this.#split(parent.children.get(tokens[depth])!, shared - depth);
    if (shared < tokens.length) {
      const leaf = newNode(tokens.slice(shared), node);
      node.children.set(tokens[shared], leaf);
      this.#tokens += leaf.label.length;
      node = leaf;
    }
    for (let up: Node | undefined = node; up; up = up.parent) up.usedAt = ++this.#clock;
    return node;
  }

  /** Puts a node `length` tokens into a label. */
  #split(node: Node, length: number): Node {
    const middle = newNode(node.label.slice(0, length), node.parent);
    middle.parent!.children.set(middle.label[0], middle);
    node.label = node.label.slice(length);
    node.parent = middle;
    middle.children.set(node.label[0], node);
    return middle;
  }

  /** Drops the longest unused ends that have no state, until half of what is allowed is left, or nothing to drop. */
  #forget(): void {
    for (;;) {
      const ends = this.#ends(this.#root).sort((a, b) => a.usedAt - b.usedAt);
      for (const end of ends) {
        if (this.#tokens <= this.#maxTokens / 2) return;
        end.parent!.children.delete(end.label[0]);
        this.#tokens -= end.label.length;
      }
      if (ends.length === 0) return;
    }
  }

  #ends(root: Node): Node[] {
    const ends: Node[] = [];
    const open = [root];
    for (let node = open.pop(); node; node = open.pop()) {
      open.push(...node.children.values());
      if (node.children.size === 0 && !node.snapshot && !node.copy && node.parent) ends.push(node);
    }
    return ends;
  }
}

const newNode = (label: readonly number[], parent: Node | undefined): Node => ({
  label,
  parent,
  children: new Map(),
  usedAt: 0,
});

/** How many of `label` are in `tokens` from `at` on. */
function commonLength(label: readonly number[], tokens: readonly number[], at: number): number {
  let length = 0;
  while (length < label.length && label[length] === tokens[at + length]) length++;
  return length;
}
