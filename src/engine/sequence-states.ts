import { BlockPool } from "./block-pool.ts";
import { HostCache, type HostCopy } from "./host-cache.ts";
import { PrefixTree, type Snapshot } from "./prefix-tree.ts";
import type { Runner } from "./runner.ts";
import type { Sequence } from "./sequence.ts";

/** Fewer tokens than these are read again rather than kept. */
const MIN_BRANCH = 16;

/** Remembered tokens for each that the KV cache holds. */
const TREE_SHARE = 8;

/** Where a sequence goes on from. */
interface Start {
  readonly length: number;
  /** Puts the recurrent state into a slot, and what is missing into its blocks. */
  readonly fill: (slot: number) => void;
}

/**
 * Who owns which slot and which KV blocks, and what is kept of sequences that are gone. A block is written by the
 * sequence that took it, ascending, and by nobody else: who goes on from the middle of one copies it first.
 */
export class SequenceStates {
  readonly #runner: Runner;
  readonly #freeSlots: number[];
  readonly #pool: BlockPool;
  readonly #tree: PrefixTree;
  /** Tokens of prompts that states were found for, of all that were asked for. */
  readonly cached = { hit: 0, queried: 0 };
  /** Tokens whose states came back from the host. */
  restored = 0;
  readonly #hosts: HostCache | undefined;
  readonly #readMs: (tokens: number) => number;

  /** `hostBytes` of host memory take states that leave the device; `readMs` says how long it takes to read so many tokens. */
  constructor(runner: Runner, hostBytes: number, readMs: (tokens: number) => number) {
    this.#runner = runner;
    this.#readMs = readMs;
    const { maxSequences, slots, blocks, blockTokens } = runner.limits;
    this.#freeSlots = Array.from({ length: maxSequences }, (_, i) => maxSequences - 1 - i);
    if (runner.transfer && hostBytes > 0) this.#hosts = new HostCache(runner.transfer, blockTokens, hostBytes);
    this.#pool = new BlockPool(blocks, (block) => this.#hosts?.forget(block));
    const forSnapshots = Array.from({ length: slots - maxSequences }, (_, i) => maxSequences + i);
    this.#tree = new PrefixTree(this.#pool, forSnapshots, TREE_SHARE * blocks * blockTokens, this.#hosts);
  }

  get blocks(): { readonly used: number; readonly cached: number; readonly total: number } {
    const { total, free } = this.#pool;
    const cached = this.#tree.reclaimable;
    return { used: total - free - cached, cached, total };
  }

  get snapshots(): number {
    return this.#tree.snapshots;
  }

  get host(): { readonly bytes: number; readonly maxBytes: number; readonly copies: number } | undefined {
    return this.#hosts && { bytes: this.#hosts.bytes, maxBytes: this.#hosts.maxBytes, copies: this.#hosts.copies };
  }

  /**
   * Gives a sequence a slot, blocks for all its tokens and one more, and the longest state that is there for a prefix of
   * them. False where there is no room, or where fewer than `reserve` blocks would be left.
   */
  begin(sequence: Sequence, reserve: number): boolean {
    if (this.#freeSlots.length === 0) return false;
    const { tokens } = sequence;
    const { shared, ...found } = this.#tree.find(tokens);
    // Logits are kept of no token.
    const { snapshot, copy } = sequence.request.score ? {} : found;
    const start =
      (copy && this.#restore(sequence, copy, snapshot, reserve)) ??
      (snapshot && this.#resume(sequence, snapshot, reserve)) ??
      this.#begin(sequence, reserve);
    if (!start) return false;
    sequence.slot = this.#freeSlots.pop()!;
    sequence.position = start.length;
    start.fill(sequence.slot);
    sequence.cached = Math.min(sequence.position, sequence.promptLength);
    sequence.cuts = this.#cuts(sequence, shared);
    this.cached.hit += sequence.cached;
    this.cached.queried += sequence.promptLength;
    return true;
  }

  /** Tokens that a sequence need not read once the prompt of `other` has been. 0 where it is not worth while. */
  savedBy(other: Sequence, { tokens }: Sequence): number {
    const isShared = (cut: number) =>
      cut < tokens.length && tokens.every((id, i) => i >= cut || id === other.tokens[i]);
    const cut = other.cuts.findLast(isShared) ?? 0;
    const saved = cut - (cut > 0 ? (this.#tree.find(tokens).snapshot?.length ?? 0) : 0);
    return saved >= MIN_BRANCH ? saved : 0;
  }

  /** Blocks for `length` tokens. False where there are none left. */
  grow(sequence: Sequence, length: number): boolean {
    return this.#take(sequence, Math.min(length, this.#runner.limits.maxContext), 0);
  }

  /** Keeps the state that the step submitted last leaves. Nobody gets to see it before it is verified. */
  keep(sequence: Sequence, length: number): void {
    const slot = this.#tree.takeSlot();
    if (slot === undefined) return;
    this.#runner.copyState(sequence.slot, slot);
    const blocks = sequence.blocks.slice(0, this.#blocksFor(length));
    this.#pool.hold(blocks);
    sequence.unverified.push({ length, slot, blocks });
  }

  /** A draw after them was finite, so the states kept are sound: all that is not spreads to every later token. */
  verify(sequence: Sequence): void {
    for (const snapshot of sequence.unverified) this.#tree.publish(sequence.tokens, snapshot);
    sequence.unverified = [];
  }

  /** Remembers where later prompts may part from this one. */
  remember(sequence: Sequence): void {
    this.#tree.add(sequence.tokens);
  }

  /** Leaves the state of a sequence, all of whose draws were finite, behind, and frees what it owns. */
  end(sequence: Sequence): void {
    this.keep(sequence, sequence.finalLength);
    this.verify(sequence);
    this.drop(sequence);
  }

  /** Frees what a sequence owns. */
  drop(sequence: Sequence): void {
    for (const snapshot of sequence.unverified) this.#tree.discard(snapshot);
    sequence.unverified = [];
    this.#pool.release(sequence.blocks);
    sequence.blocks = [];
    if (sequence.slot >= 0) this.#freeSlots.push(sequence.slot);
    sequence.slot = -1;
  }

  /** Nothing that was kept can be relied on. */
  clear(): void {
    this.#tree.clear();
  }

  #blocksFor(tokens: number): number {
    return Math.ceil(tokens / this.#runner.limits.blockTokens);
  }

  /** From nothing: a slot needs no clearing. */
  #begin(sequence: Sequence, reserve: number): Start | undefined {
    return this.#share(sequence, [], reserve) ? { length: 0, fill: () => {} } : undefined;
  }

  /** From a snapshot, whose blocks are shared; the last is copied where it is not whole. */
  #resume(sequence: Sequence, { length, blocks, slot }: Snapshot, reserve: number): Start | undefined {
    const whole = this.#wholeBlocks(length);
    // The last must not be evicted meanwhile.
    this.#pool.hold(blocks);
    const isEnough = this.#share(sequence, blocks.slice(0, whole), reserve);
    if (isEnough && whole < blocks.length) this.#runner.copyBlock(blocks[whole], sequence.blocks[whole]);
    this.#pool.release(blocks);
    return isEnough ? { length, fill: (to) => this.#runner.copyState(slot, to) } : undefined;
  }

  /** From a copy on the host, and the whole blocks of a snapshot, where that is faster than to go on from the snapshot. */
  #restore(sequence: Sequence, copy: HostCopy, snapshot: Snapshot | undefined, reserve: number): Start | undefined {
    const { length, blocks } = snapshot ?? { length: 0, blocks: [] };
    const whole = this.#wholeBlocks(length);
    const hosts = this.#hosts!;
    if (copy.length <= length || hosts.loadMs(copy, whole) >= this.#readMs(copy.length - length)) return undefined;
    if (!this.#share(sequence, blocks.slice(0, whole), reserve)) return undefined;
    const fill = (to: number) => {
      hosts.load(copy, to, sequence.blocks, whole);
      this.restored += copy.length - length;
      this.keep(sequence, copy.length);
    };
    return { length: copy.length, fill };
  }

  /** Shares blocks, and takes those that are still missing. */
  #share(sequence: Sequence, blocks: readonly number[], reserve: number): boolean {
    this.#pool.hold(blocks);
    sequence.blocks = [...blocks];
    if (this.#take(sequence, sequence.tokens.length + 1, reserve)) return true;
    this.#pool.release(blocks);
    sequence.blocks = [];
    return false;
  }

  #wholeBlocks(tokens: number): number {
    return Math.floor(tokens / this.#runner.limits.blockTokens);
  }

  #take(sequence: Sequence, tokens: number, reserve: number): boolean {
    const count = Math.max(
      0,
      this.#blocksFor(Math.min(tokens, this.#runner.limits.maxContext)) - sequence.blocks.length,
    );
    const wanted = count + reserve;
    if (count > 0 && this.#pool.free < wanted && this.#pool.free + this.#tree.reclaimable < wanted) return false;
    if (this.#pool.free < count) this.#tree.evictFor(count);
    sequence.blocks.push(...this.#pool.take(count));
    return true;
  }

  /**
   * The request's boundaries, or else the last whole block that leaves something to read; and where earlier prompts part
   * from this one. What follows the last boundary is not likely to be met again.
   */
  #cuts({ request, promptLength, position }: Sequence, shared: number): number[] {
    const { blockTokens } = this.#runner.limits;
    const { boundaries = [Math.floor((promptLength - 1) / blockTokens) * blockTokens] } = request;
    const last = boundaries[boundaries.length - 1];
    const branch = Math.min(shared, promptLength - 1);
    const wanted = new Set(boundaries);
    if (request.boundaries === undefined || branch <= last) wanted.add(branch);
    const cuts: number[] = [];
    for (const cut of [...wanted].sort((a, b) => a - b)) {
      const isFar = cut - (cuts.at(-1) ?? position) >= MIN_BRANCH;
      if (cut > position && cut < promptLength && (isFar || cut === last)) cuts.push(cut);
    }
    return cuts;
  }
}
