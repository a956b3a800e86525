import type { GpuTensor, GpuWeight } from "../../../gpu/resources.ts";
import type { Batch } from "../../batch.ts";
import type {
  AttentionShape,
  DeltaWeights,
  ExpertWeights,
  Norm,
  Ops,
  QueryKeyNorms,
  Routing,
  Tensor,
} from "../../ops.ts";
import { attention } from "../attention.ts";
import type { GpuContext, GpuRouting } from "../gpu-ops.ts";
import { GpuOps } from "../gpu-ops.ts";
import type { GpuKVCache, GpuRecurrentState } from "../state.ts";
import { canConvDelta, type DecodeKernels, type Input, oneRowKernels } from "./fused.ts";
import { Lazy } from "./lazy.ts";

type Value = GpuTensor | Lazy;

/**
 * `Ops` for one token of each sequence on a GPU that waits longer for a dispatch than for its work. Ops answer with formulas; where the
 * residual stream goes on, the formulas below it are recorded, as many as possible in one kernel: a norm or a gate
 * with the products of its result, products of the same input with each other, the convolution with the delta rule, a
 * sparse layer in three. What has no kernel of that kind is recorded as `GpuOps` does.
 */
export class DecodeOps implements Ops {
  readonly #gpu: GpuContext;
  readonly #kernels: DecodeKernels;
  readonly #plain: GpuOps;

  constructor(gpu: GpuContext, kernels = oneRowKernels()) {
    this.#gpu = gpu;
    this.#kernels = kernels;
    this.#plain = new GpuOps(gpu);
  }

  /** The tensor that a result stands for. */
  tensor(value: Tensor): GpuTensor {
    const tensor = tensorOf(value);
    this.#kernels.settle?.(this.#gpu, tensor);
    return tensor;
  }

  embed(table: GpuWeight, batch: Batch): Value {
    return this.#plain.embed(table, batch);
  }

  rmsNorm(x: Value, norm: Norm<GpuWeight>): Value {
    return new Lazy(x.rows, x.columns, { kind: "rmsNorm", x, norm }, () => this.#plain.rmsNorm(this.tensor(x), norm));
  }

  gatedRmsNorm(x: Value, gate: Value, norm: Norm<GpuWeight>): Value {
    const compute = () => this.#plain.gatedRmsNorm(this.tensor(x), this.tensor(gate), norm);
    return new Lazy(x.rows, x.columns, { kind: "gatedRmsNorm", x, gate, norm }, compute);
  }

  linear(x: Value, weight: GpuWeight, options?: { readonly plus?: Value }): Value {
    const plus = options?.plus;
    const y = new Lazy(x.rows, weight.rows, { kind: "linear", x, weight, plus }, () => this.#linear(y));
    if (x instanceof Lazy) x.products.push(y);
    // Nothing folds a sum with the residual stream into what follows.
    return plus ? y.tensor : y;
  }

  swiGlu(x: Value): Value {
    return new Lazy(x.rows, x.columns / 2, { kind: "swiGlu", x }, () => this.#plain.swiGlu(this.tensor(x)));
  }

  columns(x: Value, from: number, to: number): Value {
    return new Lazy(x.rows, to - from, { kind: "columns" }, () => this.#plain.columns(this.tensor(x), from, to));
  }

  causalConv(x: Value, weight: GpuWeight, state: GpuRecurrentState, batch: Batch): Value {
    const compute = () => this.#plain.causalConv(this.tensor(x), weight, state, batch);
    return new Lazy(x.rows, x.columns, { kind: "causalConv", x, weight }, compute);
  }

  gatedDelta(qkv: Value, gates: Value, delta: DeltaWeights<GpuWeight>, state: GpuRecurrentState, batch: Batch): Value {
    const { valueHeads, valueDim } = delta.shape;
    return new Lazy(qkv.rows, valueHeads * valueDim, { kind: "gatedDelta" }, () => {
      const conv = formula(qkv, "causalConv");
      if (conv && !(qkv as Lazy).isRecorded) {
        const parts = { x: this.tensor(conv.x), factors: conv.weight, gates: this.tensor(gates), delta, state };
        if (canConvDelta(parts)) return this.#kernels.convGatedDelta(this.#gpu, parts);
      }
      return this.#plain.gatedDelta(this.tensor(qkv), this.tensor(gates), delta, state, batch);
    });
  }

  appendKV(qkv: Value, norms: QueryKeyNorms<GpuWeight>, cache: GpuKVCache, batch: Batch): Value {
    return this.#plain.appendKV(this.tensor(qkv), norms, cache, batch);
  }

  attention(queries: Value, qkv: Value, shape: AttentionShape, cache: GpuKVCache, batch: Batch): Value {
    const { mergeAttention } = this.#kernels;
    return attention(this.#gpu, this.tensor(queries), this.tensor(qkv), shape, cache, batch, mergeAttention);
  }

  route(logits: Value, topK: number, batch: Batch): Routing {
    let routing: GpuRouting | undefined;
    const compute = (): GpuRouting => {
      routing ??= this.#plain.route(this.tensor(logits), topK, batch) as GpuRouting;
      return routing;
    };
    return {
      ids: new Lazy(logits.rows, topK, { kind: "route", logits }, () => compute().ids),
      weights: new Lazy(logits.rows, topK, { kind: "route", logits }, () => compute().weights),
    };
  }

  experts(x: Value, routing: Routing, experts: ExpertWeights<GpuWeight>, batch: Batch): Value {
    return new Lazy(x.rows, x.columns, { kind: "experts", x, ids: routing.ids as Lazy, experts }, () => {
      const gpuRouting = { ids: this.tensor(routing.ids), weights: this.tensor(routing.weights) };
      return this.#plain.experts(this.tensor(x), gpuRouting, experts, batch);
    });
  }

  mixExperts(parts: { residual: Value; routed: Value; shared: Value; gate: Value }): Value {
    const { residual, routed, shared, gate } = parts;
    return (
      this.#sparseLayer(parts) ??
      this.#plain.mixExperts({
        residual: this.tensor(residual),
        routed: this.tensor(routed),
        shared: this.tensor(shared),
        gate: this.tensor(gate),
      })
    );
  }

  lastRows(x: Value, batch: Batch): Value {
    return this.#plain.lastRows(this.tensor(x), batch);
  }

  /** A product, together with those of the same input that nobody has asked for yet. */
  #linear(y: Lazy): GpuTensor {
    const { x, weight, plus } = formula(y, "linear")!;
    const { profile } = this.#gpu.recorder;
    const input = this.#input(x);
    const weights = (parts: readonly Lazy[]) => parts.map((part) => formula(part, "linear")!.weight);
    let parts = [y];
    if (!plus && x instanceof Lazy) {
      const open = x.products.filter((other) => !other.isRecorded && !formula(other, "linear")!.plus);
      if (this.#kernels.canProduct(input, weights(open), profile)) parts = open;
    }
    if (!this.#kernels.canProduct(input, weights(parts), profile)) {
      return this.#plain.linear(this.tensor(x), weight, { plus: plus && this.tensor(plus) });
    }
    const tensors = this.#kernels.product(this.#gpu, input, weights(parts), plus && this.tensor(plus));
    for (const [i, part] of parts.entries()) part.record(tensors[i]);
    return y.tensor;
  }

  #input(x: Value): Input {
    if (x instanceof Lazy && !x.isRecorded) {
      const { formula } = x;
      const { profile } = this.#gpu.recorder;
      if (formula.kind === "rmsNorm") return { kind: "rmsNorm", x: tensorOf(formula.x), norm: formula.norm };
      if (formula.kind === "gatedRmsNorm") {
        const { norm } = formula;
        const input = {
          kind: "gatedRmsNorm",
          x: tensorOf(formula.x),
          gate: this.tensor(formula.gate),
          norm,
        } as const;
        if (this.#kernels.canProduct(input, [], profile)) return input;
      }
    }
    return { kind: "plain", x: tensorOf(x) };
  }

  /** A sparse layer in three dispatches, where its formulas are as in the model and nothing of them is recorded yet. */
  #sparseLayer(parts: { residual: Value; routed: Value; shared: Value; gate: Value }): GpuTensor | undefined {
    const routed = formula(parts.routed, "experts");
    const sharedDown = formula(parts.shared, "linear");
    const logits = routed && formula(routed.ids, "route")?.logits;
    const norm = routed && formula(routed.x, "rmsNorm");
    const gateUp = sharedDown && formula(sharedDown.x, "swiGlu")?.x;
    if (!routed || !sharedDown || !logits || !norm || !gateUp || sharedDown.plus) return undefined;
    const siblings = [logits, gateUp, parts.gate].map((part) => formula(part, "linear"));
    if (!siblings.every((s) => s && s.x === routed.x && !s.plus)) return undefined;
    const { profile } = this.#gpu.recorder;
    const layer = {
      x: this.tensor(norm.x),
      norm: norm.norm,
      experts: routed.experts,
      sharedDown: sharedDown.weight,
      residual: this.tensor(parts.residual),
    };
    const input = { kind: "rmsNorm", x: layer.x, norm: norm.norm } as const;
    const isWhole =
      this.#kernels.canProduct(
        input,
        siblings.map((s) => s!.weight),
        profile,
      ) && this.#kernels.canMixExperts(layer, profile);
    if (!isWhole || [logits, gateUp, parts.gate].some((part) => (part as Lazy).isRecorded)) return undefined;
    return this.#kernels.routedExperts(this.#gpu, {
      ...layer,
      logits: this.tensor(logits),
      sharedGateUp: this.tensor(gateUp),
      sharedGate: this.tensor(parts.gate),
    });
  }
}

const tensorOf = (value: Tensor): GpuTensor => (value instanceof Lazy ? value.tensor : (value as GpuTensor));

/** The formula of a result, if it is of that kind. */
function formula<K extends Lazy["formula"]["kind"]>(
  value: Tensor,
  kind: K,
): Extract<Lazy["formula"], { kind: K }> | undefined {
  return value instanceof Lazy && value.formula.kind === kind
    ? (value.formula as Extract<Lazy["formula"], { kind: K }>)
    : undefined;
}
