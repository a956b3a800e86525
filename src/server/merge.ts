/** An item of one of several streams. */
export interface Indexed<T> {
  readonly index: number;
  readonly item: T;
}

/** The items of several streams as they come. A stream that fails ends all; leaving early ends them too. */
export async function* merge<T>(streams: readonly AsyncIterable<T>[]): AsyncGenerator<Indexed<T>, void, void> {
  const iterators = streams.map((stream) => stream[Symbol.asyncIterator]());
  const take = (index: number) => {
    const step = iterators[index].next().then((result) => ({ index, result }));
    // A failure is met by who takes the next item, which may be later; until then nobody awaits it.
    step.catch(() => {});
    return step;
  };
  const pending = new Map(iterators.map((_, index) => [index, take(index)]));
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      if (result.done) pending.delete(index);
      else {
        pending.set(index, take(index));
        yield { index, item: result.value };
      }
    }
  } finally {
    await Promise.allSettled(iterators.map((iterator) => iterator.return?.()));
  }
}
