import type { Batch } from "./batch.ts";

/** A matrix of activations, f32, row-major: one row per token unless said otherwise. Only its `Ops` know where it lives. */
export interface Tensor {
  readonly rows: number;
  readonly columns: number;
}

/** A matrix (or, with one row, a vector) of the model, as the `Ops` at hand keep it. Never written. */
export interface Weight {
  readonly rows: number;
  readonly columns: number;
}

/** RMS normalisation: `weight` is the factor itself (a zero-centred checkpoint has had its 1 added while loading). */
export interface Norm<W = Weight> {
  readonly weight: W;
  readonly eps: number;
}

/** Keys and values of one attention layer, in blocks that a batch's block table names. */
export interface KVCache {
  readonly kind: "kv";
}

/** The recurrent state of one gated delta layer: `conv` holds raw inputs of the convolution, `delta` the matrices S. */
export interface RecurrentState {
  readonly kind: "recurrent";
}

export type LayerState = KVCache | RecurrentState;

/** Sizes of a gated delta layer (architecture: Gated DeltaNet). `valueHeads` is a multiple of `keyHeads`. */
export interface DeltaShape {
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** Taps of the causal convolution. */
  readonly convTaps: number;
}

/** The parameters of the delta rule that are not projections. */
export interface DeltaWeights<W = Weight> {
  readonly shape: DeltaShape;
  /** −exp(A_log), one per value head. */
  readonly negA: W;
  /** Added to `a` before the softplus, one per value head. */
  readonly dtBias: W;
}

/** Sizes of a gated attention layer. */
export interface AttentionShape {
  readonly queryHeads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  /** Leading dimensions of a head that rotate, in NeoX pairs (i, i + rotaryDim / 2). */
  readonly rotaryDim: number;
}

export interface QueryKeyNorms<W = Weight> {
  readonly shape: AttentionShape;
  readonly query: Norm<W>;
  readonly key: Norm<W>;
}

/** The k experts of each token: `ids` [rows, k] and their normalised `weights` [rows, k], best first. */
export interface Routing {
  readonly ids: Tensor;
  readonly weights: Tensor;
}

/** Routed experts, stacked: `gateUp` [E · 2I, H] (an expert's gate rows, then its up rows), `down` [E · H, I]. */
export interface ExpertWeights<W = Weight> {
  readonly experts: number;
  readonly topK: number;
  readonly gateUp: W;
  readonly down: W;
}

/**
 * The vocabulary in which models are written. `reference/` is its definition in plain loops; `gpu-ops.ts` speaks it
 * through kernels. T is the number of tokens (rows) of the batch.
 */
export interface Ops {
  /** Rows of `table` [V, H] named by the batch's token ids: [T, H]. */
  embed(table: Weight, batch: Batch): Tensor;

  /** x / sqrt(mean(x²) + eps) · weight, row by row. */
  rmsNorm(x: Tensor, norm: Norm): Tensor;

  /** x · Wᵀ, plus `plus` where given: [T, weight.rows]. */
  linear(x: Tensor, weight: Weight, options?: { readonly plus?: Tensor }): Tensor;

  /** silu(gate) ⊙ up, where x [T, 2I] holds gate | up: [T, I]. */
  swiGlu(x: Tensor): Tensor;

  /** The columns [from, to) of x, without copying. */
  columns(x: Tensor, from: number, to: number): Tensor;

  /**
   * Causal depthwise convolution with SiLU over the tokens of each sequence: weight [C, taps], x [T, C] → [T, C].
   * Inputs before the batch come from the state, which then takes the last inputs of x; before position 0 they are 0.
   */
  causalConv(x: Tensor, weight: Weight, state: RecurrentState, batch: Batch): Tensor;

  /**
   * The gated delta rule (Gated Delta Networks; Qwen3-Next's modelling code). qkv [T, 2·Hk·dk + Hv·dv] comes from the
   * convolution, gates [T, 2·Hv] holds b | a. Queries and keys are L2-normalised here (eps 1e-6 added to the sum),
   * queries scaled by dk^(−1/2); β = σ(b), g = negA · softplus(a + dtBias). Per token and value head:
   * S ← e^g S; d = β (v − Sᵀk); S ← S + k dᵀ; o = Sᵀq. At position 0 the state is zero. → [T, Hv·dv]
   */
  gatedDelta(qkv: Tensor, gates: Tensor, delta: DeltaWeights, state: RecurrentState, batch: Batch): Tensor;

  /** RMS norm of each head of x (weight.columns wide), times silu(gate): [T, columns]. */
  gatedRmsNorm(x: Tensor, gate: Tensor, norm: Norm): Tensor;

  /**
   * Prepares attention. qkv [T, nq·2·hd + 2·nkv·hd] holds per query head q | gate, then keys, then values. Queries and
   * keys are normalised per head, then their first rotaryDim dimensions rotated by the token's position; keys and values
   * are appended to the cache. → rotated queries [T, nq·hd]
   */
  appendKV(qkv: Tensor, norms: QueryKeyNorms, cache: KVCache, batch: Batch): Tensor;

  /**
   * Causal softmax attention of `queries` over the cache, scaled by hd^(−1/2), each head's output times
   * σ(its gate in qkv): [T, nq·hd].
   */
  attention(queries: Tensor, qkv: Tensor, shape: AttentionShape, cache: KVCache, batch: Batch): Tensor;

  /** The k largest logits of each row (ties: the lower index), and softmax over those k. */
  route(logits: Tensor, topK: number, batch: Batch): Routing;

  /** Σ over a token's experts: weight · down(silu(gate x) ⊙ up x): [T, H]. */
  experts(x: Tensor, routing: Routing, experts: ExpertWeights, batch: Batch): Tensor;

  /** residual + routed + σ(gate) ⊙ shared, gate [T, 1]: [T, H]. */
  mixExperts(parts: { residual: Tensor; routed: Tensor; shared: Tensor; gate: Tensor }): Tensor;

  /** The last row of each sequence: [sequences, columns]. */
  lastRows(x: Tensor, batch: Batch): Tensor;
}
