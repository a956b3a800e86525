import { invariant } from "../errors.ts";
import type { Bindable, KernelCall, KernelDefinition } from "./kernel.ts";
import type { DeviceProfile } from "./profile.ts";
import type { GpuTensor, GpuWeight, Scratch } from "./resources.ts";
import { composeShader, type Shader } from "./shader.ts";

/** One dispatch as recorded: nothing of it exists on a device yet. */
export interface RecordedDispatch {
  readonly kernel: string;
  readonly shader: Shader;
  readonly constants: Readonly<Record<string, number>>;
  readonly resources: readonly Resource[];
  readonly grid: readonly [number, number, number];
}

type Resource =
  | { readonly kind: "scratch"; readonly scratch: Scratch }
  | { readonly kind: "fixed"; readonly label: string; readonly gpu: GPUBuffer | undefined };

/**
 * A place where a plan may have to wait for experts. The dispatch `from` finds out whether they are there and stops the rest
 * of the plan if not; [from, to) is what runs again, perhaps more than once, when they have come.
 */
export interface Stop {
  /** Which sparse layer, counted from 0. */
  readonly layer: number;
  readonly from: number;
  readonly to: number;
  /** What a pass over some of the experts completes: rows whose experts are all there, or single pairs (row, expert). */
  readonly unit: "rows" | "pairs";
  readonly topK: number;
  /** Words of the report: where the chosen experts are noted, and after them those expected in the next layer. */
  readonly chosenAt: number;
  readonly expectedAt: number;
  readonly expected: number;
  /** Whether the plan may be submitted beyond this place before it is known if it holds. */
  readonly runsOn: boolean;
  /** The layer's input, where the host sends it elsewhere. */
  readonly input?: GpuTensor;
}

/**
 * Takes down what a model function asks for. Recording needs no device, so memory can be planned before anything is
 * allocated; `Plan.compile` turns the record into something to replay.
 */
export class Recorder {
  readonly dispatches: RecordedDispatch[] = [];
  readonly scratches: Scratch[] = [];
  readonly stops: Stop[] = [];

  constructor(
    readonly profile: DeviceProfile,
    /** Constants that any shader may declare: the limits of the batch, the size of a KV block. */
    readonly globals: Readonly<Record<string, number>> = {},
  ) {}

  /** Scratch for [rows, columns] values of 4 bytes. */
  tensor(label: string, rows: number, columns: number): GpuTensor {
    const sizeBytes = Math.max(16, rows * columns * 4);
    const scratch: Scratch = { label, sizeBytes, firstUse: -1, lastUse: -1, isRetained: false };
    this.scratches.push(scratch);
    return { kind: "tensor", rows, columns, scratch, offset: 0, stride: columns };
  }

  /** Keeps a tensor's memory to the end of the plan, so that it can be read back. */
  retain(tensor: GpuTensor): GpuTensor {
    tensor.scratch.isRetained = true;
    return tensor;
  }

  /** Memory for what the host writes before the plan runs, and that is kept to its end. */
  input(label: string, rows: number, columns: number): GpuTensor {
    const tensor = this.retain(this.tensor(label, rows, columns));
    use(tensor.scratch, 0);
    return tensor;
  }

  dispatch<B extends string, C extends string>(definition: KernelDefinition<B, C>, call: KernelCall<B, C>): void {
    const { name } = definition;
    const shader = composeShader(definition.source, [...(definition.uses ?? []), ...(call.uses ?? [])], this.profile);
    const step = this.dispatches.length;
    const resources = shader.bindings.map((binding) => {
      const resource = resolve(name, binding.name, call.buffers);
      if (resource.kind === "scratch") use(resource.scratch, step);
      return resource;
    });
    const grid = [call.grid[0], call.grid[1] ?? 1, call.grid[2] ?? 1] as const;
    invariant(
      grid.every((n) => Number.isInteger(n) && n > 0 && n <= this.profile.maxGrid),
      `${name}: grid ${grid} is not within 1…${this.profile.maxGrid}`,
    );
    this.dispatches.push({ kernel: name, shader, constants: this.#constants(name, shader, call), resources, grid });
  }

  #constants(name: string, shader: Shader, call: KernelCall<string, string>): Record<string, number> {
    const values: Record<string, number> = {};
    const given: Record<string, number> = { ...this.globals, ...views(call.buffers), ...call.constants };
    for (const [constant, { optional }] of shader.constants) {
      if (constant in given) values[constant] = given[constant];
      else invariant(optional, `${name}: no value for ${constant}`);
    }
    for (const constant of Object.keys(call.constants)) {
      invariant(shader.constants.has(constant), `${name}: the shader has no constant ${constant}`);
    }
    checkViews(name, shader, call.buffers);
    return values;
  }
}

function use(scratch: Scratch, step: number): void {
  if (scratch.firstUse < 0) scratch.firstUse = step;
  scratch.lastUse = step;
}

function resolve(kernel: string, binding: string, buffers: Readonly<Record<string, Bindable>>): Resource {
  const direct = buffers[binding];
  if (direct?.kind === "tensor") return { kind: "scratch", scratch: direct.scratch };
  if (direct?.kind === "buffer") return { kind: "fixed", label: direct.label, gpu: direct.gpu };
  if (direct?.kind === "weight") return { kind: "fixed", label: direct.label, gpu: direct.data };
  const weight = binding.endsWith("Scales") ? (buffers[binding.slice(0, -6)] as GpuWeight | undefined) : undefined;
  invariant(weight?.kind === "weight", `${kernel}: nothing is bound to ${binding}`);
  return { kind: "fixed", label: `${weight.label} (scales)`, gpu: weight.scales };
}

const constantName = (binding: string) => binding.replace(/([A-Z])/g, "_$1").toUpperCase();

/** `X_OFFSET` and `X_STRIDE` for every tensor bound as `x`. */
function views(buffers: Readonly<Record<string, Bindable>>): Record<string, number> {
  const values: Record<string, number> = {};
  for (const [name, buffer] of Object.entries(buffers)) {
    if (buffer.kind !== "tensor") continue;
    values[`${constantName(name)}_OFFSET`] = buffer.offset;
    values[`${constantName(name)}_STRIDE`] = buffer.stride;
  }
  return values;
}

/** A shader that does not know of views may only be given whole tensors. */
function checkViews(kernel: string, shader: Shader, buffers: Readonly<Record<string, Bindable>>): void {
  for (const [name, buffer] of Object.entries(buffers)) {
    if (buffer.kind !== "tensor") continue;
    const isWhole = buffer.offset === 0 && (buffer.stride === buffer.columns || buffer.rows === 1);
    const knowsViews = shader.constants.has(`${constantName(name)}_STRIDE`);
    invariant(
      isWhole || knowsViews,
      `${kernel}: ${name} is a view, but the shader has no ${constantName(name)}_STRIDE`,
    );
  }
}
