import { expect } from "vitest";

/** ‖actual − expected‖ / ‖expected‖; NaN where any value is NaN. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; i++) {
    difference += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return Math.sqrt(difference / Math.max(norm, 1e-30));
}

/** Fails with the worst element's index and both values. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  limit: number,
  what = "values",
): void {
  expect(actual.length, `${what}: length`).toBe(expected.length);
  const error = relativeError(actual, expected);
  if (error <= limit) return;
  let worst = 0;
  for (let i = 0; i < expected.length; i++) {
    const d = Math.abs(actual[i] - expected[i]);
    if (!(d <= Math.abs(actual[worst] - expected[worst]))) worst = i;
    if (Number.isNaN(d)) break;
  }
  expect.fail(
    `${what}: relative error ${error.toExponential(2)} > ${limit}; worst at ${worst}: ${actual[worst]}, expected ${expected[worst]}`,
  );
}
