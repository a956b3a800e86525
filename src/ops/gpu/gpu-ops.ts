import type { Recorder } from "../../gpu/recorder.ts";
import type { GpuBuffer, GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import type { Batch } from "../batch.ts";
import type { AttentionShape, DeltaWeights, ExpertWeights, Norm, Ops, QueryKeyNorms, Routing, Tensor } from "../ops.ts";
import { appendKV, attention } from "./attention.ts";
import { causalConv, gatedDelta } from "./delta.ts";
import { embed, gatedRmsNorm, lastRows, mixExperts, rmsNorm, swiGlu } from "./dense.ts";
import { linear } from "./linear.ts";
import { experts, route } from "./moe.ts";
import type { GpuKVCache, GpuRecurrentState } from "./state.ts";

/** What ops on the GPU know besides their arguments. */
export interface GpuContext {
  readonly recorder: Recorder;
  /** The batch as the device sees it. */
  readonly batchBuffer: GpuBuffer;
  /** [position][cos | sin][rotaryDim / 2] */
  readonly rope: GpuBuffer;
}

/** `Ops` on the GPU: each records its kernels. All tensors are f32; f16 appears only within kernels and in the KV cache. */
export class GpuOps implements Ops {
  readonly #gpu: GpuContext;

  constructor(context: GpuContext) {
    this.#gpu = context;
  }

  /** The tensor that a result stands for. */
  tensor(value: Tensor): GpuTensor {
    return value as GpuTensor;
  }

  embed(table: GpuWeight, batch: Batch): GpuTensor {
    return embed(this.#gpu, table, batch);
  }

  rmsNorm(x: GpuTensor, norm: Norm<GpuWeight>): GpuTensor {
    return rmsNorm(this.#gpu, x, norm);
  }

  linear(x: GpuTensor, weight: GpuWeight, options?: { readonly plus?: GpuTensor }): GpuTensor {
    return linear(this.#gpu, x, weight, options?.plus);
  }

  swiGlu(x: GpuTensor): GpuTensor {
    return swiGlu(this.#gpu, x);
  }

  columns(x: GpuTensor, from: number, to: number): GpuTensor {
    return { ...x, columns: to - from, offset: x.offset + from };
  }

  causalConv(x: GpuTensor, weight: GpuWeight, state: GpuRecurrentState, batch: Batch): GpuTensor {
    return causalConv(this.#gpu, x, weight, state, batch);
  }

  gatedDelta(
    qkv: GpuTensor,
    gates: GpuTensor,
    delta: DeltaWeights<GpuWeight>,
    state: GpuRecurrentState,
    batch: Batch,
  ): GpuTensor {
    return gatedDelta(this.#gpu, qkv, gates, delta, state, batch);
  }

  gatedRmsNorm(x: GpuTensor, gate: GpuTensor, norm: Norm<GpuWeight>): GpuTensor {
    return gatedRmsNorm(this.#gpu, x, gate, norm);
  }

  appendKV(qkv: GpuTensor, norms: QueryKeyNorms<GpuWeight>, cache: GpuKVCache, batch: Batch): GpuTensor {
    return appendKV(this.#gpu, qkv, norms, cache, batch);
  }

  attention(queries: GpuTensor, qkv: GpuTensor, shape: AttentionShape, cache: GpuKVCache, batch: Batch): GpuTensor {
    return attention(this.#gpu, queries, qkv, shape, cache, batch);
  }

  route(logits: GpuTensor, topK: number, batch: Batch): Routing {
    return route(this.#gpu, logits, topK, batch);
  }

  experts(x: GpuTensor, routing: Routing, weights: ExpertWeights<GpuWeight>, batch: Batch): GpuTensor {
    return experts(this.#gpu, x, routing as GpuRouting, weights, batch);
  }

  mixExperts(parts: { residual: GpuTensor; routed: GpuTensor; shared: GpuTensor; gate: GpuTensor }): GpuTensor {
    return mixExperts(this.#gpu, parts);
  }

  lastRows(x: GpuTensor, batch: Batch): GpuTensor {
    return lastRows(this.#gpu, x, batch);
  }
}

export interface GpuRouting extends Routing {
  readonly ids: GpuTensor;
  readonly weights: GpuTensor;
}
