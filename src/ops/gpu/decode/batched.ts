import type { DeviceProfile } from "../../../gpu/profile.ts";
import type { GpuTensor, GpuWeight, Scratch } from "../../../gpu/resources.ts";
import { isPacked } from "../../../kernels/decode/digits.ts";
import { MAX_PARTS } from "../../../kernels/decode/product.ts";
import type { GpuContext } from "../gpu-ops.ts";
import { mergedRanges } from "./batched-attention.ts";
import { canMixExperts, routedExperts } from "./batched-experts.ts";
import { type Deferred, type Staged, stageInput, type Wanted } from "./batched-input.ts";
import { canSlice, product, sliced } from "./batched-products.ts";
import { convGatedDelta, type DecodeKernels, fitsInput, type Input, MAX_BATCHED_ROWS } from "./fused.ts";

/**
 * Kernels of a decode step of several rows. What products make of an input is made once, together with what comes before it
 * where there is a kernel for both, and every weight is read once for all rows. What a row comes to does not depend on how
 * many there are.
 */
export function batchedKernels(): DecodeKernels {
  const staged = new Map<Scratch, Staged & { readonly input: Input }>();
  const deferred = new Map<Scratch, Deferred>();
  const settle = (_: GpuContext, { scratch }: GpuTensor) => {
    const left = deferred.get(scratch);
    deferred.delete(scratch);
    left?.alone();
  };
  const defer = (left: Deferred): GpuTensor => {
    deferred.set(left.y.scratch, left);
    return left.y;
  };
  const stage = (gpu: GpuContext, input: Input, wanted: Wanted): Staged => {
    const { scratch } = input.x;
    const known = staged.get(scratch);
    if (known && isSame(known.input, input) && known.isWide === wanted.isWide) {
      if (wanted.keeps === "nothing" ? known.hasDigits : known.keeps === wanted.keeps) return known;
    }
    const left = deferred.get(scratch);
    deferred.delete(scratch);
    const result = { ...stageInput(gpu, input, wanted, left), input };
    staged.set(scratch, result);
    return result;
  };
  return {
    canProduct,
    product: (gpu, input, weights, plus) => {
      if (canSlice(gpu.recorder.profile, input.x)) {
        return sliced(gpu, stage(gpu, input, { isWide: false, keeps: "halves" }), weights, plus);
      }
      const isWide = weights.some((w) => w.format === "q8");
      const keeps = weights.some((w) => !isPacked(w.format)) ? "floats" : "nothing";
      return product(gpu, stage(gpu, input, { isWide, keeps }), weights, plus);
    },
    convGatedDelta,
    canMixExperts,
    routedExperts: (gpu, parts) => {
      const input = { kind: "rmsNorm", x: parts.x, norm: parts.norm } as const;
      return defer(routedExperts(gpu, parts, stage(gpu, input, { isWide: false, keeps: "nothing" })));
    },
    mergeAttention: (gpu, ranges) => defer(mergedRanges(gpu, ranges)),
    settle,
  };
}

const isSame = (a: Input, b: Input): boolean =>
  a.kind === b.kind &&
  a.x.offset === b.x.offset &&
  (a.kind === "plain" || (b.kind !== "plain" && a.norm.weight === b.norm.weight));

function canProduct(input: Input, weights: readonly GpuWeight[], profile: DeviceProfile): boolean {
  const packed = new Set(weights.map((w) => w.format).filter(isPacked));
  const buffers = weights.reduce((sum, w) => sum + (isPacked(w.format) ? 2 : 1), 5);
  return (
    input.x.rows <= MAX_BATCHED_ROWS &&
    (weights.length === 0 || packed.size === 1) &&
    weights.length <= MAX_PARTS &&
    buffers <= profile.maxBuffers &&
    fitsInput(input, profile)
  );
}
