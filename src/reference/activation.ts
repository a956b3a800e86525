import { type HostTensor, hostTensor } from "./host-tensor.ts";

export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

export const silu = (x: number): number => x * sigmoid(x);

/** ln(1 + eˣ) */
export const softplus = (x: number): number => (x > 20 ? x : Math.log1p(Math.exp(x)));

/** silu(gate) ⊙ up, where x [T, 2I] holds gate | up: [T, I]. */
export function swiGlu(x: HostTensor): HostTensor {
  const width = x.columns / 2;
  const y = hostTensor(x.rows, width);
  for (let row = 0; row < x.rows; row++) {
    for (let i = 0; i < width; i++) {
      const gate = x.data[row * x.columns + i];
      y.data[row * width + i] = silu(gate) * x.data[row * x.columns + width + i];
    }
  }
  return y;
}
