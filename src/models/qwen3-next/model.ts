import type { Batch } from "../../ops/batch.ts";
import type { LayerState, Ops, Tensor } from "../../ops/ops.ts";
import { decoderLayer } from "./decoder-layer.ts";
import type { ModelWeights } from "./weights.ts";

/** Sees what a forward pass goes through. Tensors are valid during the call only, unless their `Ops` says otherwise. */
export interface Trace {
  /** The residual stream [T, H]: 0 is the embedding, i what layer i − 1 left, before any norm. */
  hidden?(index: number, x: Tensor): void;
  /** The experts [T, k] that layer `layer` chose. */
  experts?(layer: number, ids: Tensor): void;
}

/** The batch's tokens through all layers and the final norm: [T, H]. `state` holds one entry per layer. */
export const forward = (...args: Parameters<typeof residual>): Tensor => {
  const [ops, weights] = args;
  return ops.rmsNorm(residual(...args), weights.finalNorm);
};

/** The same without the norm: what goes on to layers that are elsewhere. */
export function residual(
  ops: Ops,
  weights: ModelWeights,
  state: readonly LayerState[],
  batch: Batch,
  trace: Trace = {},
): Tensor {
  let x = ops.embed(weights.embedding, batch);
  trace.hidden?.(0, x);
  for (const [i, layer] of weights.layers.entries()) {
    x = decoderLayer(ops, x, layer, state[i], batch, (ids) => trace.experts?.(i, ids));
    trace.hidden?.(i + 1, x);
  }
  return x;
}

/** Scores of every token of the vocabulary: [rows, V]. */
export function logits(ops: Ops, weights: ModelWeights, hidden: Tensor): Tensor {
  return ops.linear(hidden, weights.head);
}
