import { invariant } from "../errors.ts";
import type { Recorder } from "./recorder.ts";
import type { GpuBuffer, GpuTensor, GpuWeight } from "./resources.ts";
import type { Fragment } from "./shader.ts";

export interface KernelDefinition<B extends string, C extends string> {
  readonly name: string;
  readonly source: string;
  /** Fragments that every call needs. */
  readonly uses?: readonly Fragment[];
  /**
   * What a call must bind, by the names of the shader's variables. A weight is bound under its name, and its scales
   * under the name plus `Scales` where the shader declares that.
   */
  readonly buffers: readonly B[];
  /** Constants that a call must give. Batch limits, and `X_OFFSET`/`X_STRIDE` of a buffer `x`, come by themselves. */
  readonly constants: readonly C[];
}

export type Bindable = GpuTensor | GpuWeight | GpuBuffer;

export interface KernelCall<B extends string, C extends string> {
  readonly buffers: Readonly<Record<B, Bindable>>;
  readonly constants: Readonly<Record<C, number>>;
  /** Workgroups in x, y, z. */
  readonly grid: readonly [number, number?, number?];
  /** Fragments that this call chooses, such as a weight's format. */
  readonly uses?: readonly Fragment[];
}

export interface Kernel<B extends string = string, C extends string = string> extends KernelDefinition<B, C> {
  (recorder: Recorder, call: KernelCall<B, C>): void;
}

const names = new Set<string>();

/** A shader with its typed call. Leave a buffer or constant out and it does not compile. */
export function defineKernel<const B extends string, const C extends string>(
  definition: KernelDefinition<B, C>,
): Kernel<B, C> {
  invariant(!names.has(definition.name), `two kernels are called ${definition.name}`);
  const call = (recorder: Recorder, call: KernelCall<B, C>) => recorder.dispatch(definition, call);
  const { name, ...rest } = definition;
  Object.defineProperty(call, "name", { value: name });
  names.add(name);
  return Object.assign(call, rest) as Kernel<B, C>;
}
