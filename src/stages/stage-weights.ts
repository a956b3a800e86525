import type { ModelConfig } from "../models/qwen3-next/config.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import type { WeightSource } from "../weights/format.ts";

/** The layers [from, to). */
export interface LayerRange {
  readonly from: number;
  readonly to: number;
}

/** The config of a stage: of all layers, its own. */
export const stageConfig = (config: ModelConfig, { from, to }: LayerRange): ModelConfig => ({
  ...config,
  layers: config.layers.slice(from, to),
});

/**
 * What a stage loads. A later stage's embedding is a table of what the stage before has left: its row i is that of the
 * batch's row i. An inner stage has no use for a head, and takes the embedding for one.
 */
export function stageWeights(
  sources: ModelWeights<WeightSource>,
  { from, to }: LayerRange,
  maxRows: number,
): ModelWeights<WeightSource> {
  const embedding = from === 0 ? sources.embedding : incoming(maxRows, sources.embedding.columns);
  const isLast = to === sources.layers.length;
  return {
    embedding,
    layers: sources.layers.slice(from, to),
    finalNorm: sources.finalNorm,
    head: isLast ? sources.head : embedding,
  };
}

const incoming = (rows: number, columns: number): WeightSource => ({
  label: "rows of the stage before",
  rows,
  columns,
  format: "f32",
  role: "vector",
  read: async (from, to) => ({
    format: "f32",
    rows: to - from,
    columns,
    data: new Uint8Array((to - from) * columns * 4),
  }),
});

/**
 * Cuts layers into stages so that the costliest costs as little as can be; undefined where that is infinite. `cost` is of
 * the layers [from, to) in a stage.
 */
export function splitLayers(
  layers: number,
  stages: number,
  cost: (stage: number, range: LayerRange) => number,
): LayerRange[] | undefined {
  // Of the stages up to this one, where they hold the layers up to `to`: how little the costliest costs, and its beginning.
  const best: Map<number, { readonly cost: number; readonly ranges: readonly LayerRange[] }>[] = [];
  for (let stage = 0; stage < stages; stage++) {
    const found = new Map<number, { cost: number; ranges: readonly LayerRange[] }>();
    const before = best[stage - 1] ?? new Map([[0, { cost: 0, ranges: [] }]]);
    for (const [from, { cost: costBefore, ranges }] of before) {
      for (let to = from + 1; to <= layers; to++) {
        const largest = Math.max(costBefore, cost(stage, { from, to }));
        if (largest < (found.get(to)?.cost ?? Number.POSITIVE_INFINITY)) {
          found.set(to, { cost: largest, ranges: [...ranges, { from, to }] });
        }
      }
    }
    best.push(found);
  }
  return best.at(-1)?.get(layers)?.ranges.slice();
}
