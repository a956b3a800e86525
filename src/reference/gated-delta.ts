import type { DeltaShape } from "../ops/ops.ts";
import { sigmoid, softplus } from "./activation.ts";
import { type DeltaTokens, deltaRule } from "./delta-rule.ts";
import type { HostBatch, HostSequence } from "./host-batch.ts";
import { deltaChannels, type HostRecurrentState } from "./host-state.ts";
import { type HostTensor, type HostWeight, hostTensor } from "./host-tensor.ts";

export interface HostDelta {
  readonly shape: DeltaShape;
  readonly negA: HostWeight;
  readonly dtBias: HostWeight;
}

/** The gated delta rule as `Ops` describes it: [T, Hv·dv]. */
export function gatedDelta(
  qkv: HostTensor,
  gates: HostTensor,
  delta: HostDelta,
  state: HostRecurrentState,
  batch: HostBatch,
): HostTensor {
  const { valueHeads, keyDim, valueDim } = delta.shape;
  const y = hostTensor(qkv.rows, valueHeads * valueDim);
  const stateSize = keyDim * valueDim;
  for (const sequence of batch.sequences) {
    const { from, to, slot } = sequence;
    for (let head = 0; head < valueHeads; head++) {
      const at = (slot * valueHeads + head) * stateSize;
      const S = state.delta.subarray(at, at + stateSize);
      if (batch.positions[from] === 0) S.fill(0);
      const o = deltaRule(headTokens(qkv, gates, delta, sequence, head), S);
      for (let t = from; t < to; t++) {
        y.data.set(o.subarray((t - from) * valueDim, (t - from + 1) * valueDim), t * y.columns + head * valueDim);
      }
    }
  }
  return y;
}

/** What one value head sees of a sequence. Its key head is ⌊head / (valueHeads / keyHeads)⌋. */
function headTokens(
  qkv: HostTensor,
  gates: HostTensor,
  { shape, negA, dtBias }: HostDelta,
  { from, to }: HostSequence,
  head: number,
): DeltaTokens {
  const { keyHeads, valueHeads, keyDim, valueDim } = shape;
  const keyHead = Math.floor((head * keyHeads) / valueHeads);
  const keys = keyHeads * keyDim;
  const row = (t: number, start: number, size: number) =>
    qkv.data.subarray(t * deltaChannels(shape) + start, t * deltaChannels(shape) + start + size);
  const tokens = to - from;
  const [q, k] = [new Float64Array(tokens * keyDim), new Float64Array(tokens * keyDim)];
  const v = new Float64Array(tokens * valueDim);
  const [beta, g] = [new Float64Array(tokens), new Float64Array(tokens)];
  for (let i = 0; i < tokens; i++) {
    const t = from + i;
    q.set(l2Normalised(row(t, keyHead * keyDim, keyDim), keyDim ** -0.5), i * keyDim);
    k.set(l2Normalised(row(t, keys + keyHead * keyDim, keyDim), 1), i * keyDim);
    v.set(row(t, 2 * keys + head * valueDim, valueDim), i * valueDim);
    beta[i] = sigmoid(gates.data[t * 2 * valueHeads + head]);
    g[i] = negA.data[head] * softplus(gates.data[t * 2 * valueHeads + valueHeads + head] + dtBias.data[head]);
  }
  return { q, k, v, beta, g };
}

/** x / sqrt(Σx² + 1e-6) · scale; the eps is the model code's own, whatever its configuration says. */
function l2Normalised(x: Float32Array, scale: number): Float64Array {
  let squares = 1e-6;
  for (let i = 0; i < x.length; i++) squares += x[i] * x[i];
  const factor = scale / Math.sqrt(squares);
  return Float64Array.from(x, (value) => value * factor);
}
