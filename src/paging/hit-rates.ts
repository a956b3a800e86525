/**
 * How often a layer's cache has the experts that a token asks for, by the share of its experts that are on the device.
 * Measured with Sprout's routing along held-out text (test/bench/hit-rates.bench.ts), token by token, least recently used.
 * Sprout picks 4 of 24, a sixth of them; larger models pick a smaller part, and find more at the same share.
 */
const MEASURED: readonly (readonly [share: number, hitRate: number])[] = [
  [0, 0],
  [0.167, 0.359],
  [0.208, 0.408],
  [0.25, 0.458],
  [0.333, 0.554],
  [0.375, 0.599],
  [0.5, 0.725],
  [0.625, 0.828],
  [0.75, 0.909],
  [0.875, 0.968],
  [1, 1],
];

export const HIT_RATE_SOURCE =
  "Sprout's routing along held-out text, a lower bound for models that pick a smaller part of their experts";

/** Between the shares that were measured, a straight line. */
export function expectedHitRate(share: number): number {
  const above = MEASURED.findIndex(([at]) => at >= share);
  if (above <= 0) return above === 0 ? 0 : 1;
  const [x0, y0] = MEASURED[above - 1];
  const [x1, y1] = MEASURED[above];
  return y0 + ((share - x0) / (x1 - x0)) * (y1 - y0);
}
