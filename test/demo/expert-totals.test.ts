import type { LayerPagingStats } from "sluice";
import { expect, it } from "vitest";
import { expertTotals, heatMap } from "../../demo/src/expert-totals.ts";

const layer = (changes: Partial<LayerPagingStats>): LayerPagingStats => ({
  ...{ hits: 0, misses: 0, readAhead: 0, useful: 0, foretellable: 0, foretold: 0, bytes: 0, waitMs: 0 },
  recency: new Uint8Array(4),
  ...changes,
});
const stats = (...layers: LayerPagingStats[]) => ({ experts: 4, slots: 2, layers });

it("adds up layers", () => {
  const two = stats(
    layer({ hits: 6, misses: 2, readAhead: 4, useful: 3, bytes: 10, waitMs: 1 }),
    layer({ hits: 3, misses: 1, bytes: 5, waitMs: 2 }),
  );
  expect(expertTotals(two)).toEqual({ hits: 9, misses: 3, hitRate: 0.75, precision: 0.75, bytes: 15, waitMs: 3 });
  expect(expertTotals(stats(layer({})))).toMatchObject({ hitRate: undefined, precision: undefined });
});

it("draws a row for each layer, and neighbours together where there are many", () => {
  const two = stats(layer({ recency: Uint8Array.of(0, 255, 10, 0) }), layer({ recency: Uint8Array.of(4, 0, 0, 0) }));
  expect(heatMap(two, 8)).toEqual({ rows: 2, columns: 4, levels: Float32Array.of(0, 255, 10, 0, 4, 0, 0, 0) });
  expect(heatMap(two, 3)).toEqual({ rows: 2, columns: 2, levels: Float32Array.of(127.5, 5, 2, 0) });
});
