import { deltaAndQuantize } from "../../../kernels/batched/quantize.ts";
import { batchedConvDelta, headColumns } from "../../../kernels/decode/conv-delta.ts";
import { sizes } from "../../../kernels/decode/sizes.ts";
import type { GpuContext } from "../gpu-ops.ts";
import { CONV_RING } from "../state.ts";
import type { Deferred } from "./batched-input.ts";
import type { DeltaParts } from "./fused.ts";

/** Subgroups that share a value head. */
const HEAD_TEAMS = 8;

/** Convolution and delta rule of one token of some sequences, [rows, Hv·dv], perhaps with the gated norm that follows. */
export function deferredDelta(
  { recorder, batchBuffer: batch }: GpuContext,
  { x, factors, gates, delta, state }: DeltaParts,
): Deferred {
  const { keyHeads, valueHeads, keyDim, valueDim } = delta.shape;
  const { subgroupMaxSize: lanes, maxInvocations, maxBuffers } = recorder.profile;
  const y = recorder.tensor("gated-delta", x.rows, valueHeads * valueDim);
  const valueFours = valueDim / 4;
  // One workgroup has all columns of a head, so that it convolves for all of them once.
  const teams = Math.min(HEAD_TEAMS, Math.floor(maxInvocations / lanes), valueFours);
  const fours = Math.ceil(valueFours / teams);
  const workgroup = teams * lanes;
  const columns = headColumns(fours, Math.ceil(keyDim / 4 / lanes));
  const threads = { lanes, teams, workgroup, fours, keyFours: keyDim / 4, valueFours };
  const buffers = {
    x,
    negA: delta.negA,
    dtBias: delta.dtBias,
    state: state.delta,
    ring: state.conv,
    factors,
    batch,
  };
  const constants = {
    KEY_HEADS: keyHeads,
    VALUE_HEADS: valueHeads,
    KEY_DIM: keyDim,
    VALUE_DIM: valueDim,
    RING: CONV_RING,
  };
  const grid = [valueHeads, x.rows] as const;
  return {
    y,
    alone: () =>
      batchedConvDelta(recorder, {
        uses: [sizes(threads), columns],
        buffers: { ...buffers, gates, y },
        constants,
        grid,
      }),
    quantized: (input, outputs) => {
      if (input.kind !== "gatedRmsNorm" || input.norm.weight.columns !== valueDim) return false;
      const { gate, norm } = input;
      const { uses, buffers: kept } = outputs.withoutDigits ?? outputs;
      const isOneTensor = [gates, gate].every((t) => t.scratch === x.scratch && t.stride === x.stride);
      const bound = Object.keys(buffers).length + Object.keys(kept).length + 1;
      if (!isOneTensor || bound > maxBuffers) return false;
      deltaAndQuantize(recorder, {
        uses: [sizes({ ...threads, ...outputs.sizes, rounds: Math.ceil(y.columns / 8 / workgroup) }), ...uses, columns],
        buffers: { ...buffers, ...kept, factor: norm.weight },
        constants: {
          ...constants,
          COLUMNS: y.columns,
          EPS: norm.eps,
          GATE_OFFSET: gate.offset,
          GATES_OFFSET: gates.offset,
          GATES_STRIDE: gates.stride,
        },
        grid,
      });
      return true;
    },
  };
}
