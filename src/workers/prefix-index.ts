/** Tokens of a block: what a worker's own prefix cache shares is in such blocks. */
const BLOCK_TOKENS = 64;

/** Characters that make about as many tokens. */
const BLOCK_CHARACTERS = 256;

/**
 * Which worker has lately read which beginnings of prompts: for each, the hashes of blocks, a hash being of all that
 * comes before as well. It is a guess at what the worker keeps, made without asking it, and costs a lookup a block.
 */
export class PrefixIndex {
  readonly #seen: readonly Set<number>[];
  readonly #capacity: number;

  /** `capacity`: blocks that are remembered for each worker, the latest. */
  constructor(workers: number, capacity: number) {
    this.#seen = Array.from({ length: workers }, () => new Set<number>());
    this.#capacity = capacity;
  }

  /** Blocks at the beginning of a prompt that a worker has read. */
  match(worker: number, blocks: readonly number[]): number {
    const end = blocks.findIndex((hash) => !this.#seen[worker].has(hash));
    return end < 0 ? blocks.length : end;
  }

  add(worker: number, blocks: readonly number[]): void {
    const seen = this.#seen[worker];
    // The first block last: what everything begins with is forgotten after what follows it.
    for (const hash of blocks.toReversed()) {
      seen.delete(hash);
      seen.add(hash);
    }
    for (const oldest of seen) {
      if (seen.size <= this.#capacity) break;
      seen.delete(oldest);
    }
  }

  forget(worker: number): void {
    this.#seen[worker].clear();
  }
}

/** The hashes of the whole blocks of a prompt: a text, or token ids. */
export function prefixBlocks(prompt: string | readonly number[]): number[] {
  const size = typeof prompt === "string" ? BLOCK_CHARACTERS : BLOCK_TOKENS;
  const unit = typeof prompt === "string" ? (i: number) => prompt.charCodeAt(i) : (i: number) => prompt[i];
  const blocks: number[] = [];
  let [low, high] = [0x811c9dc5, 0x9e3779b9];
  for (let i = 0; i < prompt.length; i++) {
    low = Math.imul(low ^ unit(i), 0x01000193);
    high = Math.imul(high ^ unit(i), 0x85ebca6b) + (low >>> 15);
    if ((i + 1) % size === 0) blocks.push((high & 0x1fffff) * 2 ** 32 + (low >>> 0));
  }
  return blocks;
}
