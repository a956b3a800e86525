import type { Usage } from "./types.ts";

/** Takes the times of one reply. */
export class ReplyClock {
  readonly #startMs: number;
  readonly #promptTokens: number;
  #prefillMs: number | undefined;
  #cached = 0;
  #firstMs = 0;
  #lastMs = 0;
  #tokens = 0;

  /** @param startMs when the caller asked, by `performance.now()` */
  constructor(startMs: number, promptTokens: number) {
    this.#startMs = startMs;
    this.#promptTokens = promptTokens;
  }

  prefill(cached: number): void {
    this.#prefillMs ??= performance.now();
    this.#cached = cached;
  }

  /** A token was drawn. */
  token(): void {
    this.#lastMs = performance.now();
    if (this.#tokens++ === 0) this.#firstMs = this.#lastMs;
  }

  /** @param givenTokens tokens of the reply that were not drawn */
  usage(givenTokens: number, reasoningTokens: number): Usage {
    const perSecond = (count: number, ms: number) => (count > 0 && ms > 0 ? (1000 * count) / ms : 0);
    const hasBegun = this.#tokens > 0 && this.#prefillMs !== undefined;
    return {
      promptTokens: this.#promptTokens,
      cachedTokens: this.#cached,
      completionTokens: this.#tokens + givenTokens,
      reasoningTokens,
      timeToFirstTokenMs: hasBegun ? this.#firstMs - this.#startMs : 0,
      prefillTokensPerSecond: hasBegun
        ? perSecond(this.#promptTokens - this.#cached, this.#firstMs - this.#prefillMs!)
        : 0,
      decodeTokensPerSecond: perSecond(this.#tokens - 1, this.#lastMs - this.#firstMs),
    };
  }
}
