import { silu } from "./activation.ts";
import type { HostBatch } from "./host-batch.ts";
import type { HostRecurrentState } from "./host-state.ts";
import { type HostTensor, type HostWeight, hostTensor } from "./host-tensor.ts";

/** y[t, c] = silu(Σ_τ weight[c, τ] · x[t − (taps − 1) + τ, c]); inputs before the batch come from the state. */
export function causalConv(x: HostTensor, weight: HostWeight, state: HostRecurrentState, batch: HostBatch): HostTensor {
  const y = hostTensor(x.rows, x.columns);
  const channels = x.columns;
  const taps = weight.columns;
  const kept = (taps - 1) * channels;
  for (const { from, to, slot } of batch.sequences) {
    const carried = state.conv.subarray(slot * kept, (slot + 1) * kept);
    if (batch.positions[from] === 0) carried.fill(0);
    // The carried inputs and the new ones, one after the other: row i is the first that token i sees.
    const inputs = new Float32Array(kept + (to - from) * channels);
    inputs.set(carried);
    inputs.set(x.data.subarray(from * channels, to * channels), kept);
    for (let t = from; t < to; t++) {
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let tap = 0; tap < taps; tap++) {
          sum += weight.data[c * taps + tap] * inputs[(t - from + tap) * channels + c];
        }
        y.data[t * channels + c] = silu(sum);
      }
    }
    carried.set(inputs.subarray(inputs.length - kept));
  }
  return y;
}
