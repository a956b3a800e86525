/** What the cache of one layer's experts has done so far. */
export interface LayerPagingStats {
  /** Experts that steps asked for and found, and did not find. */
  readonly hits: number;
  readonly misses: number;
  /** Experts read before a step asked for them, and those of them that one then did ask for. */
  readonly readAhead: number;
  readonly useful: number;
  /** Experts chosen while the layer before had made a guess, and those of them that it had guessed. */
  readonly foretellable: number;
  readonly foretold: number;
  /** Bytes brought to the device. */
  readonly bytes: number;
  /** Milliseconds that steps waited for experts. */
  readonly waitMs: number;
}

export interface PagingStats {
  /** Experts of each layer, and how many of them the device holds at a time. */
  readonly experts: number;
  readonly slots: number;
  readonly layers: readonly LayerPagingStats[];
}

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

  snapshot(): LayerPagingStats {
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
