import { invariant } from "../../../errors.ts";
import type { GpuTensor, GpuWeight } from "../../../gpu/resources.ts";
import type { ExpertWeights, Norm, Tensor } from "../../ops.ts";

/** How a result comes about, as far as others may take part of it over. */
export type Formula =
  | { readonly kind: "rmsNorm"; readonly x: Value; readonly norm: Norm<GpuWeight> }
  | { readonly kind: "gatedRmsNorm"; readonly x: Value; readonly gate: Value; readonly norm: Norm<GpuWeight> }
  | { readonly kind: "linear"; readonly x: Value; readonly weight: GpuWeight; readonly plus: Value | undefined }
  | { readonly kind: "swiGlu"; readonly x: Value }
  | { readonly kind: "causalConv"; readonly x: Value; readonly weight: GpuWeight }
  | { readonly kind: "route"; readonly logits: Value }
  | { readonly kind: "experts"; readonly x: Value; readonly ids: Lazy; readonly experts: ExpertWeights<GpuWeight> }
  | { readonly kind: "columns" | "gatedDelta" };

type Value = GpuTensor | Lazy;

/** A result that is recorded when somebody asks for its tensor, once. */
export class Lazy implements Tensor {
  /** Products of this result. */
  readonly products: Lazy[] = [];
  #tensor: GpuTensor | undefined;

  constructor(
    readonly rows: number,
    readonly columns: number,
    readonly formula: Formula,
    readonly compute: () => GpuTensor,
  ) {}

  get isRecorded(): boolean {
    return this.#tensor !== undefined;
  }

  get tensor(): GpuTensor {
    this.#tensor ??= this.compute();
    return this.#tensor;
  }

  /** Its tensor came about with another's. */
  record(tensor: GpuTensor): void {
    invariant(!this.#tensor, "a result is recorded once");
    this.#tensor = tensor;
  }
}
