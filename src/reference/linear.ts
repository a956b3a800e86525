import { type HostTensor, type HostWeight, hostTensor } from "./host-tensor.ts";

/** x · Wᵀ + plus: [T, weight.rows]. */
export function linear(x: HostTensor, weight: HostWeight, plus?: HostTensor): HostTensor {
  const y = hostTensor(x.rows, weight.rows);
  for (let o = 0; o < weight.rows; o++) {
    for (let t = 0; t < x.rows; t++) {
      const at = t * weight.rows + o;
      const sum = dot(x.data, t * x.columns, weight.data, o * weight.columns, x.columns);
      y.data[at] = plus ? plus.data[at] + sum : sum;
    }
  }
  return y;
}

/** Σ a[from + i] · b[from + i] over `count` elements, in f64; four sums keep the processor busy. */
export function dot(a: Float32Array, fromA: number, b: Float32Array, fromB: number, count: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = 0;
  for (; i + 3 < count; i += 4) {
    s0 += a[fromA + i] * b[fromB + i];
    s1 += a[fromA + i + 1] * b[fromB + i + 1];
    s2 += a[fromA + i + 2] * b[fromB + i + 2];
    s3 += a[fromA + i + 3] * b[fromB + i + 3];
  }
  for (; i < count; i++) s0 += a[fromA + i] * b[fromB + i];
  return s0 + s1 + (s2 + s3);
}
