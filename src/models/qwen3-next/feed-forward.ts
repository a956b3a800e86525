import type { Batch } from "../../ops/batch.ts";
import type { Ops, Tensor, Weight } from "../../ops/ops.ts";
import type { DenseWeights, MoeWeights } from "./weights.ts";

/** residual + the feed-forward part of a layer, dense or sparse: [T, H]. `onRoute` sees the chosen experts [T, k]. */
export function feedForward(
  ops: Ops,
  x: Tensor,
  residual: Tensor,
  weights: MoeWeights | DenseWeights,
  batch: Batch,
  onRoute?: (ids: Tensor) => void,
): Tensor {
  return weights.kind === "dense"
    ? ops.linear(swiGluUnit(ops, x, weights.gateUp), weights.down, { plus: residual })
    : sparseMoe(ops, x, residual, weights, batch, onRoute);
}

/** The k experts a token is routed to, and one that all tokens share. */
function sparseMoe(
  ops: Ops,
  x: Tensor,
  residual: Tensor,
  weights: MoeWeights,
  batch: Batch,
  onRoute?: (ids: Tensor) => void,
): Tensor {
  const routing = ops.route(ops.linear(x, weights.router), weights.experts.topK, batch);
  onRoute?.(routing.ids);
  const routed = ops.experts(x, routing, weights.experts, batch);
  const shared = ops.linear(swiGluUnit(ops, x, weights.sharedGateUp), weights.sharedDown);
  const gate = ops.linear(x, weights.sharedGate);
  return ops.mixExperts({ residual, routed, shared, gate });
}

const swiGluUnit = (ops: Ops, x: Tensor, gateUp: Weight): Tensor => ops.swiGlu(ops.linear(x, gateUp));
