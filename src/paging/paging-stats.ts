import type { LayerPagingStats } from "../api/types.ts";

/** Counts what the cache of one layer's experts does. */
export class LayerStats {
  #hits = 0;
  #misses = 0;
  #readAhead = 0;
  #useful = 0;
  #foretellable = 0;
  #foretold = 0;
  #bytes = 0;
  #waitMs = 0;

  used(needed: number, misses: number, useful: number): void {
    this.#hits += needed - misses;
    this.#misses += misses;
    this.#useful += useful;
  }

  expected(needed: number, foretold: number): void {
    this.#foretellable += needed;
    this.#foretold += foretold;
  }

  read(bytes: number): void {
    this.#bytes += bytes;
  }

  readAhead(bytes: number): void {
    this.#readAhead++;
    this.#bytes += bytes;
  }

  waited(ms: number): void {
    this.#waitMs += ms;
  }

  snapshot(): Omit<LayerPagingStats, "recency"> {
    return {
      hits: this.#hits,
      misses: this.#misses,
      readAhead: this.#readAhead,
      useful: this.#useful,
      foretellable: this.#foretellable,
      foretold: this.#foretold,
      bytes: this.#bytes,
      waitMs: this.#waitMs,
    };
  }
}
