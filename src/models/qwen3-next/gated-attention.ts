import type { Batch } from "../../ops/batch.ts";
import type { KVCache, Ops, Tensor } from "../../ops/ops.ts";
import type { AttentionMixerWeights } from "./weights.ts";

/** residual + causal attention over x, each head's output times its sigmoid gate: [T, H]. */
export function gatedAttention(
  ops: Ops,
  x: Tensor,
  residual: Tensor,
  weights: AttentionMixerWeights,
  cache: KVCache,
  batch: Batch,
): Tensor {
  const qkv = ops.linear(x, weights.inProj);
  const queries = ops.appendKV(qkv, weights.norms, cache, batch);
  const mixed = ops.attention(queries, qkv, weights.norms.shape, cache, batch);
  return ops.linear(mixed, weights.outProj, { plus: residual });
}
