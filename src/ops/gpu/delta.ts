import { invariant } from "../../errors.ts";
import type { GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import { convDecodeKernel } from "../../kernels/delta/conv-decode.ts";
import { convPrefillKernel } from "../../kernels/delta/conv-prefill.ts";
import { convStoreKernel } from "../../kernels/delta/conv-store.ts";
import { deltaRecurrentKernel } from "../../kernels/delta/delta-recurrent.ts";
import { lanes } from "../../kernels/delta/lanes.ts";
import type { Batch } from "../batch.ts";
import type { DeltaWeights } from "../ops.ts";
import type { GpuContext } from "./gpu-ops.ts";
import { CONV_RING, type GpuRecurrentState } from "./state.ts";

/** Threads of a workgroup in all kernels of this family that do not say otherwise. */
const WORKGROUP = 64;

/** Tokens that one thread of the convolution takes. */
const CONV_ROWS = 8;

export function causalConv(
  { recorder, batchBuffer }: GpuContext,
  x: GpuTensor,
  weight: GpuWeight,
  { conv: ring }: GpuRecurrentState,
  batch: Batch,
): GpuTensor {
  invariant(weight.format === "f32", `${weight.label} is ${weight.format}; the convolution reads f32`);
  invariant(weight.columns <= 4, `a convolution of ${weight.columns} taps; at most 4 are supported`);
  const y = recorder.tensor("causal-conv", x.rows, x.columns);
  const constants = { CHANNELS: x.columns, TAPS: weight.columns, RING: CONV_RING };
  const buffers = { x, factors: weight, ring, y, batch: batchBuffer };
  const groups = Math.ceil(x.columns / WORKGROUP);
  if (batch.kind === "decode") {
    convDecodeKernel(recorder, { buffers, constants, grid: [groups, x.rows] });
    return y;
  }
  convPrefillKernel(recorder, {
    buffers,
    constants: { ...constants, ROWS: CONV_ROWS },
    grid: [groups, Math.ceil(x.rows / CONV_ROWS)],
  });
  convStoreKernel(recorder, {
    buffers: { x, ring, batch: batchBuffer },
    constants: { CHANNELS: x.columns, RING: CONV_RING },
    grid: [groups, batch.maxSequences],
  });
  return y;
}

export function gatedDelta(
  gpu: GpuContext,
  qkv: GpuTensor,
  gates: GpuTensor,
  delta: DeltaWeights<GpuWeight>,
  state: GpuRecurrentState,
  batch: Batch,
): GpuTensor {
  const { keyHeads, valueHeads, keyDim, valueDim } = delta.shape;
  invariant(
    keyDim % 4 === 0 && valueDim % 4 === 0,
    `delta heads of ${keyDim} and ${valueDim}; multiples of 4 are needed`,
  );
  invariant(valueHeads % keyHeads === 0, `${valueHeads} value heads for ${keyHeads} key heads`);
  return recurrent(gpu, qkv, gates, delta, state, batch);
}

function recurrent(
  { recorder, batchBuffer }: GpuContext,
  qkv: GpuTensor,
  gates: GpuTensor,
  { shape, negA, dtBias }: DeltaWeights<GpuWeight>,
  state: GpuRecurrentState,
  batch: Batch,
): GpuTensor {
  const { keyHeads, valueHeads, keyDim, valueDim } = shape;
  const laneCount = lanesFor(keyDim);
  const y = recorder.tensor("gated-delta", qkv.rows, valueHeads * valueDim);
  deltaRecurrentKernel(recorder, {
    uses: [lanes(laneCount, keyDim)],
    buffers: { qkv, gates, negA, dtBias, state: state.delta, y, batch: batchBuffer },
    constants: { KEY_HEADS: keyHeads, VALUE_HEADS: valueHeads, KEY_DIM: keyDim, VALUE_DIM: valueDim },
    grid: [Math.ceil(((valueDim / 4) * laneCount) / WORKGROUP), valueHeads, batch.maxSequences],
  });
  return y;
}

/** Threads that share a column of S: the most, up to 8, that divide its vectors. */
function lanesFor(keyDim: number): number {
  let count = 8;
  while ((keyDim / 4) % count !== 0) count /= 2;
  return count;
}
