import { deltaAndQuantize } from "../../../kernels/batched/quantize.ts";
import { deltaColumns } from "../../../kernels/decode/conv-delta.ts";
import { sizes } from "../../../kernels/decode/sizes.ts";
import type { GpuContext } from "../gpu-ops.ts";
import { CONV_RING } from "../state.ts";
import type { Deferred } from "./batched-input.ts";
import { convGatedDelta, type DeltaParts } from "./fused.ts";

/** Convolution and delta rule of one token of some sequences, [rows, Hv·dv], perhaps with the gated norm that follows. */
export function deferredDelta(gpu: GpuContext, parts: DeltaParts): Deferred {
  const { recorder, batchBuffer: batch } = gpu;
  const { x, factors, gates, delta, state } = parts;
  const { keyHeads, valueHeads, keyDim, valueDim } = delta.shape;
  const { subgroupMaxSize: lanes, maxInvocations, maxBuffers } = recorder.profile;
  const y = recorder.tensor("gated-delta", x.rows, valueHeads * valueDim);
  return {
    y,
    alone: () => convGatedDelta(gpu, parts, y),
    quantized: (input, outputs) => {
      if (input.kind !== "gatedRmsNorm" || input.norm.weight.columns !== valueDim) return false;
      const { gate, norm } = input;
      const { uses, buffers: kept } = outputs.withoutDigits ?? outputs;
      const buffers = {
        ...kept,
        x,
        negA: delta.negA,
        dtBias: delta.dtBias,
        state: state.delta,
        ring: state.conv,
        factors,
        factor: norm.weight,
        batch,
      };
      const isOneTensor = [gates, gate].every((t) => t.scratch === x.scratch && t.stride === x.stride);
      const valueFours = valueDim / 4;
      const fours = [2, 4, 8].find((f) => valueFours % f === 0 && (valueFours / f) * lanes <= maxInvocations);
      if (!isOneTensor || !fours || Object.keys(buffers).length > maxBuffers) return false;
      const teams = valueFours / fours;
      const workgroup = teams * lanes;
      const rounds = Math.ceil(y.columns / 8 / workgroup);
      deltaAndQuantize(recorder, {
        uses: [
          sizes({ lanes, teams, workgroup, fours, valueFours, rounds, ...outputs.sizes }),
          ...uses,
          deltaColumns(fours, Math.ceil(keyDim / 4 / lanes)),
        ],
        buffers,
        constants: {
          KEY_HEADS: keyHeads,
          VALUE_HEADS: valueHeads,
          KEY_DIM: keyDim,
          VALUE_DIM: valueDim,
          RING: CONV_RING,
          COLUMNS: y.columns,
          EPS: norm.eps,
          GATE_OFFSET: gate.offset,
          GATES_OFFSET: gates.offset,
          GATES_STRIDE: gates.stride,
        },
        grid: [1, valueHeads, x.rows],
      });
      return true;
    },
  };
}
