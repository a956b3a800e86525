export interface Timing {
  /** Calls that are timed together, and how often. */
  readonly stretch?: number;
  readonly stretches?: number;
  /** Where it takes longer, fewer stretches do. */
  readonly enoughMs?: number;
}

/**
 * Milliseconds that a call takes as a rule: the median of some stretches, after a first call that warms up. The fastest
 * would promise what seldom comes, and one alone may be anything.
 */
export async function typicalMs(
  run: (time: number) => Promise<unknown>,
  { stretch = 5, stretches = 5, enoughMs = 400 }: Timing = {},
): Promise<number> {
  await run(0);
  const times: number[] = [];
  const endMs = performance.now() + enoughMs;
  for (let time = 1; times.length < stretches && (times.length === 0 || performance.now() < endMs); ) {
    const startMs = performance.now();
    for (let i = 0; i < stretch; i++) await run(time++);
    times.push((performance.now() - startMs) / stretch);
  }
  return median(times);
}

/** The lower of the two in the middle where there are two. */
export const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[(values.length - 1) >> 1];
