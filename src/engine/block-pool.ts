import { invariant } from "../errors.ts";

/** KV blocks, and by how many sequences and snapshots each is held. A block is free when nobody holds it. */
export class BlockPool {
  readonly #holders: Uint32Array;
  readonly #free: number[];
  readonly #onFree: (block: number) => void;

  /** `onFree` is told of blocks that nobody holds any more. */
  constructor(
    readonly total: number,
    onFree: (block: number) => void = () => {},
  ) {
    this.#onFree = onFree;
    this.#holders = new Uint32Array(total);
    this.#free = Array.from({ length: total }, (_, i) => total - 1 - i);
  }

  get free(): number {
    return this.#free.length;
  }

  holders(block: number): number {
    return this.#holders[block];
  }

  /** Takes free blocks, each held once. There have to be so many. */
  take(count: number): number[] {
    invariant(count <= this.#free.length, `${count} KV blocks of ${this.#free.length} free ones`);
    const blocks = count === 0 ? [] : this.#free.splice(-count).reverse();
    for (const block of blocks) this.#holders[block] = 1;
    return blocks;
  }

  hold(blocks: readonly number[]): void {
    for (const block of blocks) {
      invariant(this.#holders[block] > 0, `KV block ${block} is held by nobody`);
      this.#holders[block]++;
    }
  }

  release(blocks: readonly number[]): void {
    for (const block of blocks) {
      invariant(this.#holders[block] > 0, `KV block ${block} is released twice`);
      if (--this.#holders[block] > 0) continue;
      this.#free.push(block);
      this.#onFree(block);
    }
  }
}
