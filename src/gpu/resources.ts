import type { Tensor, Weight } from "../ops/ops.ts";
import type { WeightFormat } from "../weights/format.ts";

/** A buffer that outlives a plan: cache, state, batch, sampling parameters. Without `gpu` while memory is only planned. */
export interface GpuBuffer {
  readonly kind: "buffer";
  readonly label: string;
  readonly sizeBytes: number;
  readonly gpu?: GPUBuffer;
}

/** Scratch of one plan; which GPU buffer holds it is decided when the plan is finished. */
export interface Scratch {
  readonly label: string;
  readonly sizeBytes: number;
  /** Steps of the plan that touch it first and last. */
  firstUse: number;
  lastUse: number;
  /** Kept to the end of the plan, so that it can be read back. */
  isRetained: boolean;
}

/** A tensor, or a column view of one: element (r, c) is at `offset + r · stride + c`, in elements of 4 bytes. */
export interface GpuTensor extends Tensor {
  readonly kind: "tensor";
  readonly scratch: Scratch;
  readonly offset: number;
  readonly stride: number;
}

export interface GpuWeight extends Weight {
  readonly kind: "weight";
  readonly label: string;
  readonly format: WeightFormat;
  readonly data?: GPUBuffer;
  readonly scales?: GPUBuffer;
}
