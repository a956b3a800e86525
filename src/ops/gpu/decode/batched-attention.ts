import { mergeAndQuantize } from "../../../kernels/batched/quantize.ts";
import { sizes } from "../../../kernels/decode/sizes.ts";
import { type AttentionRanges, mergeAttention } from "../attention.ts";
import type { GpuContext } from "../gpu-ops.ts";
import type { Deferred } from "./batched-input.ts";

/** Ranges of attention, joined on the way to what the product of all heads wants. */
export function mergedRanges(gpu: GpuContext, ranges: AttentionRanges): Deferred {
  const { recorder, batchBuffer: batch } = gpu;
  const { sums, stats, qkv, queryHeads, headDim, splits, tokens } = ranges;
  const y = recorder.tensor("attention", qkv.rows, queryHeads * headDim);
  const isInFours = qkv.offset % 4 === 0 && qkv.stride % 4 === 0;
  return {
    y,
    alone: () => mergeAttention(gpu, ranges, y),
    quantized: (input, outputs) => {
      if (input.kind !== "plain" || input.x.columns !== y.columns) return false;
      if (splits > MAX_SPLITS || tokens > 1 || !isInFours) return false;
      const { uses, buffers } = outputs.withoutDigits ?? outputs;
      mergeAndQuantize(recorder, {
        uses: [sizes({ ...outputs.threads, ...outputs.sizes }), ...uses],
        buffers: { sums, stats, qkv, batch, ...buffers },
        constants: { COLUMNS: y.columns, HEAD_DIM: headDim, SPLITS: splits },
        grid: [y.rows],
      });
      return true;
    },
  };
}

/** Ranges that one thread joins. */
const MAX_SPLITS = 16;
