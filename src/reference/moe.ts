import { sigmoid, silu } from "./activation.ts";
import { softmax } from "./attention.ts";
import { type HostTensor, type HostWeight, hostTensor } from "./host-tensor.ts";
import { dot } from "./linear.ts";

export interface HostRouting {
  readonly ids: HostTensor;
  readonly weights: HostTensor;
}

export interface HostExperts {
  readonly experts: number;
  readonly topK: number;
  readonly gateUp: HostWeight;
  readonly down: HostWeight;
}

/** The k largest logits of each row (ties: the lower index), and softmax over those k. */
export function route(logits: HostTensor, topK: number): HostRouting {
  const routing = { ids: hostTensor(logits.rows, topK), weights: hostTensor(logits.rows, topK) };
  for (let t = 0; t < logits.rows; t++) {
    const row = logits.data.subarray(t * logits.columns, (t + 1) * logits.columns);
    const best = Array.from(row.keys())
      .sort((a, b) => row[b] - row[a] || a - b)
      .slice(0, topK);
    routing.ids.data.set(best, t * topK);
    routing.weights.data.set(softmax(best.map((id) => row[id])), t * topK);
  }
  return routing;
}

/** Σ over a token's experts: weight · down(silu(gate x) ⊙ up x): [T, H]. */
export function experts(x: HostTensor, routing: HostRouting, { topK, gateUp, down }: HostExperts): HostTensor {
  const width = down.columns;
  const hidden = x.columns;
  const y = hostTensor(x.rows, hidden);
  const inner = new Float32Array(width);
  for (let t = 0; t < x.rows; t++) {
    const sums = new Float64Array(hidden);
    for (let slot = t * topK; slot < (t + 1) * topK; slot++) {
      const expert = routing.ids.data[slot];
      const row = (i: number) => dot(x.data, t * hidden, gateUp.data, (expert * 2 * width + i) * hidden, hidden);
      for (let i = 0; i < width; i++) inner[i] = silu(row(i)) * row(width + i);
      for (let o = 0; o < hidden; o++) {
        sums[o] += routing.weights.data[slot] * dot(inner, 0, down.data, (expert * hidden + o) * width, width);
      }
    }
    y.data.set(sums, t * hidden);
  }
  return y;
}

/** residual + routed + σ(gate) ⊙ shared, gate [T, 1]: [T, H]. */
export function mixExperts(parts: Record<"residual" | "routed" | "shared" | "gate", HostTensor>): HostTensor {
  const { residual, routed, shared, gate } = parts;
  const y = hostTensor(residual.rows, residual.columns);
  for (let i = 0; i < y.data.length; i++) {
    const share = sigmoid(gate.data[Math.floor(i / y.columns)]);
    y.data[i] = residual.data[i] + routed.data[i] + share * shared.data[i];
  }
  return y;
}
