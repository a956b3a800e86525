import type { AttentionShape, Ops } from "../ops/ops.ts";
import { swiGlu } from "./activation.ts";
import { appendKV, attention, type HostQueryKeyNorms, type RopeRow } from "./attention.ts";
import { causalConv } from "./causal-conv.ts";
import { gatedDelta, type HostDelta } from "./gated-delta.ts";
import type { HostBatch } from "./host-batch.ts";
import type { HostKVCache, HostRecurrentState } from "./host-state.ts";
import type { HostTensor, HostWeight } from "./host-tensor.ts";
import { linear } from "./linear.ts";
import { experts, type HostExperts, type HostRouting, mixExperts, route } from "./moe.ts";
import { gatedRmsNorm, type HostNorm, rmsNorm } from "./norm.ts";
import { columns, embed, lastRows } from "./rows.ts";

/** The definition of every op, in plain loops: sums in f64, results in f32. */
export class ReferenceOps implements Ops {
  readonly #ropeRow: RopeRow;

  constructor(ropeRow: RopeRow) {
    this.#ropeRow = ropeRow;
  }

  embed(table: HostWeight, batch: HostBatch): HostTensor {
    return embed(table, batch);
  }

  rmsNorm(x: HostTensor, norm: HostNorm): HostTensor {
    return rmsNorm(x, norm);
  }

  linear(x: HostTensor, weight: HostWeight, options?: { readonly plus?: HostTensor }): HostTensor {
    return linear(x, weight, options?.plus);
  }

  swiGlu(x: HostTensor): HostTensor {
    return swiGlu(x);
  }

  columns(x: HostTensor, from: number, to: number): HostTensor {
    return columns(x, from, to);
  }

  causalConv(x: HostTensor, weight: HostWeight, state: HostRecurrentState, batch: HostBatch): HostTensor {
    return causalConv(x, weight, state, batch);
  }

  gatedDelta(
    qkv: HostTensor,
    gates: HostTensor,
    delta: HostDelta,
    state: HostRecurrentState,
    batch: HostBatch,
  ): HostTensor {
    return gatedDelta(qkv, gates, delta, state, batch);
  }

  gatedRmsNorm(x: HostTensor, gate: HostTensor, norm: HostNorm): HostTensor {
    return gatedRmsNorm(x, gate, norm);
  }

  appendKV(qkv: HostTensor, norms: HostQueryKeyNorms, cache: HostKVCache, batch: HostBatch): HostTensor {
    return appendKV(qkv, norms, cache, batch, this.#ropeRow);
  }

  attention(
    queries: HostTensor,
    qkv: HostTensor,
    shape: AttentionShape,
    cache: HostKVCache,
    batch: HostBatch,
  ): HostTensor {
    return attention(queries, qkv, shape, cache, batch);
  }

  route(logits: HostTensor, topK: number): HostRouting {
    return route(logits, topK);
  }

  experts(x: HostTensor, routing: HostRouting, weights: HostExperts): HostTensor {
    return experts(x, routing, weights);
  }

  mixExperts(parts: Record<"residual" | "routed" | "shared" | "gate", HostTensor>): HostTensor {
    return mixExperts(parts);
  }

  lastRows(x: HostTensor, batch: HostBatch): HostTensor {
    return lastRows(x, batch);
  }
}
