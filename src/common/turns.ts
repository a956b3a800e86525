/**
 * Bounds how much work is under way at once. What is urgent goes first, and some turns are kept for it, so that what is awaited
 * never stands behind what is only useful.
 */
export class Turns {
  readonly #reserved: number;
  #free: number;
  readonly #urgent: (() => void)[] = [];
  readonly #patient: (() => void)[] = [];

  constructor(limit: number, reserved = 0) {
    this.#free = limit;
    this.#reserved = reserved;
  }

  /** Runs `work` in a turn of its own. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.take();
    try {
      return await work();
    } finally {
      this.give();
    }
  }

  /** Waits for a turn, which is the caller's to `give` back. */
  async take(isUrgent = true): Promise<void> {
    if (this.#isFree(isUrgent)) this.#free--;
    else await new Promise<void>((resolve) => (isUrgent ? this.#urgent : this.#patient).push(resolve));
  }

  give(): void {
    const next = this.#urgent.shift() ?? (this.#free >= this.#reserved ? this.#patient.shift() : undefined);
    if (next) next();
    else this.#free++;
  }

  #isFree(isUrgent: boolean): boolean {
    return this.#free > (isUrgent ? 0 : this.#reserved);
  }
}

/** Calls `work` for all, `count` at once, and returns when nothing is under way any more; after a failure it begins no more. */
export async function eachAtOnce<T>(
  items: readonly T[],
  count: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const turns = new Turns(count);
  let hasFailed = false;
  const unlessFailed = async (item: T) => {
    if (hasFailed) return;
    try {
      await work(item);
    } catch (error) {
      hasFailed = true;
      throw error;
    }
  };
  await allSettled(items.map((item) => turns.run(() => unlessFailed(item))));
}

/** What all of them give, once none is under way any more. Fails as the first in the list that does. */
export async function allSettled<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}
