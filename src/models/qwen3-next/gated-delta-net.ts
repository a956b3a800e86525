import type { Batch } from "../../ops/batch.ts";
import type { Ops, RecurrentState, Tensor } from "../../ops/ops.ts";
import type { DeltaMixerWeights } from "./weights.ts";

/** residual + the gated delta rule over x (Yang et al. 2024, with Qwen3-Next's convolution and output gate): [T, H]. */
export function gatedDeltaNet(
  ops: Ops,
  x: Tensor,
  residual: Tensor,
  weights: DeltaMixerWeights,
  state: RecurrentState,
  batch: Batch,
): Tensor {
  const projected = ops.linear(x, weights.inProj);
  const gates = ops.linear(x, weights.gateProj);
  const channels = weights.conv.rows;
  const qkv = ops.causalConv(ops.columns(projected, 0, channels), weights.conv, state, batch);
  const z = ops.columns(projected, channels, projected.columns);
  const mixed = ops.gatedDelta(qkv, gates, weights.delta, state, batch);
  return ops.linear(ops.gatedRmsNorm(mixed, z, weights.outNorm), weights.outProj, { plus: residual });
}
