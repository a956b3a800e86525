import type { PagingStats } from "sluice";

/** What all layers' caches have done together. */
export interface ExpertTotals {
  readonly hits: number;
  readonly misses: number;
  /** Shares from 0 to 1; undefined before anything was asked for, or read ahead. */
  readonly hitRate: number | undefined;
  readonly precision: number | undefined;
  readonly bytes: number;
  readonly waitMs: number;
}

export function expertTotals({ layers }: PagingStats): ExpertTotals {
  const sum = (key: "hits" | "misses" | "readAhead" | "useful" | "bytes" | "waitMs") =>
    layers.reduce((total, layer) => total + layer[key], 0);
  const [hits, misses, readAhead] = [sum("hits"), sum("misses"), sum("readAhead")];
  const share = (part: number, whole: number) => (whole > 0 ? part / whole : undefined);
  return {
    ...{ hits, misses, bytes: sum("bytes"), waitMs: sum("waitMs") },
    hitRate: share(hits, hits + misses),
    precision: share(sum("useful"), readAhead),
  };
}

/** A picture of the caches: a row for each layer, in each cell the mean recency (0…255) of neighbouring experts. */
export interface HeatMap {
  readonly rows: number;
  readonly columns: number;
  readonly levels: Float32Array;
}

export function heatMap({ layers, experts }: PagingStats, maxColumns: number): HeatMap {
  const perCell = Math.ceil(experts / maxColumns);
  const columns = Math.ceil(experts / perCell);
  const levels = new Float32Array(layers.length * columns);
  for (const [row, { recency }] of layers.entries()) {
    for (let column = 0; column < columns; column++) {
      const cell = recency.subarray(column * perCell, (column + 1) * perCell);
      levels[row * columns + column] = cell.reduce((sum, level) => sum + level, 0) / cell.length;
    }
  }
  return { rows: layers.length, columns, levels };
}
