/** Events for one reader, in the order of their coming, until they end. */
export class EventChannel<T> {
  #events: T[] = [];
  #error: unknown;
  #isClosed = false;
  #wake: (() => void) | undefined;

  push(event: T): void {
    if (this.#isClosed) return;
    this.#events.push(event);
    this.#wake?.();
  }

  /** Ends the events after those that are there; with an error, by throwing it. */
  close(error?: unknown): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#error = error;
    this.#wake?.();
  }

  /** Ends the events at once. */
  cut(): void {
    this.#events = [];
    this.#error = undefined;
    this.#isClosed = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    for (;;) {
      while (this.#events.length > 0) yield this.#events.shift()!;
      if (this.#error) throw this.#error;
      if (this.#isClosed) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
