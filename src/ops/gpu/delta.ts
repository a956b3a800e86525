import { invariant } from "../../errors.ts";
import { type DeviceProfile, soloSubgroup } from "../../gpu/profile.ts";
import type { GpuTensor, GpuWeight } from "../../gpu/resources.ts";
import { convDecodeKernel } from "../../kernels/delta/conv-decode.ts";
import { convPrefillKernel } from "../../kernels/delta/conv-prefill.ts";
import { convStoreKernel } from "../../kernels/delta/conv-store.ts";
import { convTilesKernel } from "../../kernels/delta/conv-tiles.ts";
import { deltaSizes } from "../../kernels/delta/delta-matrices.ts";
import { deltaMatrixScan } from "../../kernels/delta/delta-matrix-scan.ts";
import { deltaPrepare } from "../../kernels/delta/delta-prepare.ts";
import { deltaRecurrentKernel } from "../../kernels/delta/delta-recurrent.ts";
import { deltaStepKernel } from "../../kernels/delta/delta-step.ts";
import { deltaStreamKernel, STREAM_THREADS, streamBytes, streamRows } from "../../kernels/delta/delta-stream.ts";
import { lanes } from "../../kernels/delta/lanes.ts";
import type { Batch } from "../batch.ts";
import type { DeltaShape, DeltaWeights } from "../ops.ts";
import type { GpuContext } from "./gpu-ops.ts";
import { CONV_RING, type GpuRecurrentState } from "./state.ts";

/** Threads of a workgroup in all kernels of this family that do not say otherwise. */
const WORKGROUP = 64;

/** Tokens that one thread of the convolution takes. */
const CONV_ROWS = 8;
const CONV_TILE_ROWS = 16;

/** Plans for fewer tokens use the recurrent kernel, which compiles faster. */
const MIN_LONG_TOKENS = 64;

/** Parts of a head's columns in a decode step on a CPU, so that all cores have some where there is one sequence. */
const STEP_SLICES = 4;

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
  const isInFours = [x.offset, x.stride, x.columns].every((size) => size % 4 === 0);
  // Threads of software adapters wait for no memory, and four times the code takes long to compile.
  if (isInFours && !recorder.profile.serialWorkgroups) {
    convTilesKernel(recorder, {
      buffers,
      constants: { ...constants, ROWS: CONV_TILE_ROWS },
      grid: [Math.ceil(x.columns / 4 / WORKGROUP), Math.ceil(x.rows / CONV_TILE_ROWS) + batch.maxSequences],
    });
  } else {
    convPrefillKernel(recorder, {
      buffers,
      constants: { ...constants, ROWS: CONV_ROWS },
      grid: [groups, Math.ceil(x.rows / CONV_ROWS)],
    });
  }
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
    keyDim % 4 === 0 && valueDim % 4 === 0 && valueHeads % keyHeads === 0,
    `delta heads ${keyHeads} × ${keyDim}, ${valueHeads} × ${valueDim}: dims in fours, value heads a multiple are needed`,
  );
  if (batch.kind === "decode" && fitsStep(gpu, delta.shape)) return step(gpu, qkv, gates, delta, state, batch);
  const isLong = batch.kind === "prefill" && batch.maxTokens >= MIN_LONG_TOKENS;
  const way = !isLong
    ? recurrent
    : fitsMatrices(gpu, delta.shape, batch)
      ? byMatrices
      : fitsStream(gpu, delta.shape)
        ? streamed
        : recurrent;
  return way(gpu, qkv, gates, delta, state, batch);
}

/** One token after the other, in one kernel. */
export const recurrent: typeof gatedDelta = ({ recorder, batchBuffer }, qkv, gates, delta, state, batch) => {
  const { keyDim, valueDim, valueHeads } = delta.shape;
  const laneCount = lanesFor(keyDim, recorder.profile);
  const y = recorder.tensor("gated-delta", qkv.rows, valueHeads * valueDim);
  deltaRecurrentKernel(recorder, {
    uses: [lanes(laneCount, keyDim)],
    buffers: { qkv, gates, negA: delta.negA, dtBias: delta.dtBias, state: state.delta, y, batch: batchBuffer },
    constants: sizes(delta.shape),
    grid: [Math.ceil(((valueDim / 4) * laneCount) / WORKGROUP), valueHeads, batch.maxSequences],
  });
  return y;
};

/** One token of each sequence, where a workgroup had better be one subgroup. */
const step: typeof gatedDelta = ({ recorder, batchBuffer }, qkv, gates, delta, state, batch) => {
  const { keyDim, valueDim, valueHeads } = delta.shape;
  const lanesOfGroup = soloSubgroup(recorder.profile)!;
  const y = recorder.tensor("gated-delta", qkv.rows, valueHeads * valueDim);
  deltaStepKernel(recorder, {
    uses: [lanes(lanesOfGroup, keyDim)],
    buffers: { qkv, gates, negA: delta.negA, dtBias: delta.dtBias, state: state.delta, y, batch: batchBuffer },
    constants: { ...sizes(delta.shape), WORKGROUP: lanesOfGroup, SLICES: STEP_SLICES },
    grid: [STEP_SLICES, valueHeads, batch.maxSequences],
  });
  return y;
};

/** One token after the other, brought in time for none to wait. */
export const streamed: typeof gatedDelta = ({ recorder, batchBuffer }, qkv, gates, delta, state, batch) => {
  const { keyDim, valueDim, valueHeads } = delta.shape;
  const laneCount = lanesFor(keyDim, recorder.profile);
  const y = recorder.tensor("gated-delta", qkv.rows, valueHeads * valueDim);
  deltaStreamKernel(recorder, {
    uses: [streamRows(laneCount, keyDim)],
    buffers: { qkv, gates, negA: delta.negA, dtBias: delta.dtBias, state: state.delta, y, batch: batchBuffer },
    constants: sizes(delta.shape),
    grid: [Math.ceil((valueDim * laneCount) / STREAM_THREADS), valueHeads, batch.maxSequences],
  });
  return y;
};

/** Chunks of tokens at once, by products of matrices in f16. */
export const byMatrices: typeof gatedDelta = ({ recorder, batchBuffer }, qkv, gates, delta, state, batch) => {
  const { valueDim, valueHeads, keyHeads } = delta.shape;
  const size = deltaSizes(recorder.profile, delta.shape);
  invariant(size, "the device multiplies no matrices of these dims");
  const chunks = chunksOf(batch, size.chunk);
  const operands = recorder.tensor("delta operands", chunks, valueHeads * size.operands);
  const corrections = recorder.tensor("delta corrections", chunks, valueHeads * size.corrections);
  const decays = recorder.tensor("delta decays", chunks, valueHeads * 2);
  const y = recorder.tensor("gated-delta", qkv.rows, valueHeads * valueDim);
  const { negA, dtBias } = delta;
  recorder.dispatch(deltaPrepare(size), {
    buffers: { qkv, gates, negA, dtBias, operands, corrections, decays, batch: batchBuffer },
    constants: { KEY_HEADS: keyHeads, VALUE_HEADS: valueHeads },
    grid: [chunks, valueHeads],
  });
  recorder.dispatch(deltaMatrixScan(size), {
    buffers: { operands, corrections, decays, state: state.delta, y, batch: batchBuffer },
    constants: { VALUE_HEADS: valueHeads },
    grid: [valueDim / size.slice, valueHeads, batch.maxSequences],
  });
  return y;
};

/** The last chunk of every sequence may be short. */
const chunksOf = ({ maxTokens, maxSequences }: Batch, chunk: number) => Math.ceil(maxTokens / chunk) + maxSequences;

function fitsMatrices({ recorder: { profile } }: GpuContext, shape: DeltaShape, batch: Batch): boolean {
  const size = deltaSizes(profile, shape);
  if (!size) return false;
  const bytes = 4 * chunksOf(batch, size.chunk) * shape.valueHeads * size.operands;
  return bytes <= Math.min(profile.maxBindingBytes, profile.maxBufferBytes);
}

function fitsStep({ recorder: { profile } }: GpuContext, { keyDim }: DeltaShape): boolean {
  const lanesOfGroup = soloSubgroup(profile);
  return lanesOfGroup !== undefined && keyDim % (4 * lanesOfGroup) === 0;
}

function fitsStream({ recorder: { profile } }: GpuContext, { keyDim }: DeltaShape): boolean {
  const { subgroups, subgroupMinSize, serialWorkgroups, maxWorkgroupBytes } = profile;
  const laneCount = lanesFor(keyDim, profile);
  const canSum = subgroups && subgroupMinSize >= laneCount && !serialWorkgroups;
  return canSum && streamBytes(laneCount, keyDim) <= maxWorkgroupBytes;
}

const sizes = ({ keyHeads, valueHeads, keyDim, valueDim }: DeltaShape) => ({
  KEY_HEADS: keyHeads,
  VALUE_HEADS: valueHeads,
  KEY_DIM: keyDim,
  VALUE_DIM: valueDim,
});

/** Threads that share a column of S: 8, or 4 where subgroups are that small, unless its vectors do not divide so. */
function lanesFor(keyDim: number, { subgroups, subgroupMinSize }: DeviceProfile): number {
  let count = subgroups && subgroupMinSize < 8 ? 4 : 8;
  while ((keyDim / 4) % count !== 0) count /= 2;
  return count;
}
