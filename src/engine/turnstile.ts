/** Lets one caller through at a time, in the order of their calls. */
export class Turnstile {
  #last: Promise<void> = Promise.resolve();

  /** Waits for one's turn; call the result to end it. Fails, without taking a turn, when `signal` aborts first. */
  async enter(signal?: AbortSignal): Promise<() => void> {
    const before = this.#last;
    let leave!: () => void;
    this.#last = new Promise((resolve) => {
      leave = resolve;
    });
    try {
      await abortable(before, signal);
      return leave;
    } catch (error) {
      void before.then(leave);
      throw error;
    }
  }
}

function abortable(work: Promise<void>, signal?: AbortSignal): Promise<void> {
  if (!signal) return work;
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    void work.then(() => {
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
  });
}
