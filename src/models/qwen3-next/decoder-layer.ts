import { invariant } from "../../errors.ts";
import type { Batch } from "../../ops/batch.ts";
import type { LayerState, Ops, Tensor } from "../../ops/ops.ts";
import { feedForward } from "./feed-forward.ts";
import { gatedAttention } from "./gated-attention.ts";
import { gatedDeltaNet } from "./gated-delta-net.ts";
import type { LayerWeights } from "./weights.ts";

/** Pre-norm residual block: mix across tokens, then across channels. */
export function decoderLayer(
  ops: Ops,
  x: Tensor,
  layer: LayerWeights,
  state: LayerState,
  batch: Batch,
  onRoute?: (ids: Tensor) => void,
): Tensor {
  const h = mixTokens(ops, x, layer, state, batch);
  return feedForward(ops, ops.rmsNorm(h, layer.postMixerNorm), h, layer.feedForward, batch, onRoute);
}

function mixTokens(ops: Ops, x: Tensor, layer: LayerWeights, state: LayerState, batch: Batch): Tensor {
  const { mixer } = layer;
  const normed = ops.rmsNorm(x, layer.inputNorm);
  if (mixer.kind === "delta") {
    invariant(state.kind === "recurrent", `a gated delta layer was given a ${state.kind} state`);
    return gatedDeltaNet(ops, normed, x, mixer, state, batch);
  }
  invariant(state.kind === "kv", `an attention layer was given a ${state.kind} state`);
  return gatedAttention(ops, normed, x, mixer, state, batch);
}
