/** How fast bytes came lately: over the last seconds, so that a pause or a resumed download tells the truth. */
export class FlowRate {
  readonly #windowMs: number;
  /** The oldest first. */
  #samples: { readonly bytes: number; readonly ms: number }[] = [];

  constructor(windowMs = 5000) {
    this.#windowMs = windowMs;
  }

  /** Takes note of how many bytes have come in all; bytes a second since the window's start, 0 at first. */
  at(bytes: number, ms: number): number {
    this.#samples.push({ bytes, ms });
    // One sample from before the window stays, to measure from.
    const inside = this.#samples.findIndex((sample) => sample.ms >= ms - this.#windowMs);
    this.#samples = this.#samples.slice(Math.max(0, inside - 1));
    const [first] = this.#samples;
    return ms > first.ms ? ((bytes - first.bytes) * 1000) / (ms - first.ms) : 0;
  }
}
