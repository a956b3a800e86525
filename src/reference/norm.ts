import { silu } from "./activation.ts";
import { type HostTensor, type HostWeight, hostTensor } from "./host-tensor.ts";

export interface HostNorm {
  readonly weight: HostWeight;
  readonly eps: number;
}

/** x / sqrt(mean(x²) + eps) · weight, row by row. */
export function rmsNorm(x: HostTensor, norm: HostNorm): HostTensor {
  const y = hostTensor(x.rows, x.columns);
  for (let row = 0; row < x.rows; row++) {
    const from = row * x.columns;
    y.data.set(normalise(x.data.subarray(from, from + x.columns), norm), from);
  }
  return y;
}

/** RMS norm of each head of x (weight.columns wide), times silu(gate): [T, columns]. */
export function gatedRmsNorm(x: HostTensor, gate: HostTensor, norm: HostNorm): HostTensor {
  const y = hostTensor(x.rows, x.columns);
  const headDim = norm.weight.columns;
  for (let from = 0; from < x.data.length; from += headDim) {
    const normed = normalise(x.data.subarray(from, from + headDim), norm);
    for (let i = 0; i < headDim; i++) y.data[from + i] = normed[i] * silu(gate.data[from + i]);
  }
  return y;
}

/** One vector, in f64. */
export function normalise(x: Float32Array, { weight, eps }: HostNorm): Float64Array {
  let squares = 0;
  for (let i = 0; i < x.length; i++) squares += x[i] * x[i];
  const scale = 1 / Math.sqrt(squares / x.length + eps);
  const y = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) y[i] = x[i] * scale * weight.data[i];
  return y;
}
