import { invariant } from "../errors.ts";
import type { PipelineCache } from "./pipelines.ts";
import type { RecordedDispatch, Recorder, Stop } from "./recorder.ts";
import type { GpuTensor, Scratch } from "./resources.ts";
import { planScratch, type ScratchArena } from "./scratch.ts";

/**
 * A recorded step, compiled: flat arrays of pipelines, bind groups and grids that `encode` replays in one loop.
 * Replaying allocates nothing.
 */
export class Plan {
  readonly #pipelines: readonly GPUComputePipeline[];
  readonly #groups: readonly GPUBindGroup[];
  readonly #shapes: readonly (GPUBindGroup | undefined)[];
  readonly #grid: Uint32Array;
  readonly #buffers: ReadonlyMap<Scratch, GPUBuffer>;
  /** Names of the kernels, in the order of their dispatches. */
  readonly kernels: readonly string[];
  readonly stops: readonly Stop[];

  private constructor(
    kernels: readonly string[],
    pipelines: readonly GPUComputePipeline[],
    groups: readonly GPUBindGroup[],
    shapes: readonly (GPUBindGroup | undefined)[],
    grid: Uint32Array,
    buffers: ReadonlyMap<Scratch, GPUBuffer>,
    stops: readonly Stop[],
  ) {
    this.kernels = kernels;
    this.stops = stops;
    this.#pipelines = pipelines;
    this.#groups = groups;
    this.#shapes = shapes;
    this.#grid = grid;
    this.#buffers = buffers;
  }

  /** Takes scratch memory at once from `arena`, which plans share, and compiles all pipelines side by side. */
  static async compile(recorder: Recorder, pipelines: PipelineCache, arena: ScratchArena): Promise<Plan> {
    const { dispatches } = recorder;
    const { slots, sizes } = planScratch(recorder.scratches, recorder.stops);
    const memory = arena.take(sizes);
    const buffers = new Map([...slots].map(([scratch, slot]) => [scratch, memory[slot]]));
    const compiled = await Promise.all(dispatches.map((d) => pipelines.get(d)));
    const groups = dispatches.map((d) => bind(pipelines, d, buffers));
    const grid = new Uint32Array(dispatches.flatMap((d) => [...d.grid]));
    return new Plan(
      dispatches.map((d) => d.kernel),
      compiled,
      groups,
      dispatches.map((d) => pipelines.shapes(d)),
      grid,
      buffers,
      recorder.stops,
    );
  }

  /** All dispatches, or those of [from, to). */
  encode(pass: GPUComputePassEncoder, from = 0, to = this.#pipelines.length): void {
    for (let i = from; i < to; i++) this.encodeOne(pass, i);
  }

  /** One dispatch alone, for timing kernels one by one. */
  encodeOne(pass: GPUComputePassEncoder, i: number): void {
    pass.setPipeline(this.#pipelines[i]);
    pass.setBindGroup(0, this.#groups[i]);
    const shapes = this.#shapes[i];
    if (shapes) pass.setBindGroup(1, shapes);
    pass.dispatchWorkgroups(this.#grid[3 * i], this.#grid[3 * i + 1], this.#grid[3 * i + 2]);
  }

  /** The memory of what goes into a stop's layer: there from the stop's first dispatch on, until the plan goes on. */
  inputOf({ input }: Stop): GPUBuffer {
    const buffer = input && this.#buffers.get(input.scratch);
    invariant(buffer && input.offset === 0 && input.stride === input.columns, "a stop without an input of its own");
    return buffer;
  }

  /** The memory of a retained tensor. Other plans use it too: copy it out in the submit that wrote it. */
  bufferOf(tensor: GpuTensor): GPUBuffer {
    const buffer = this.#buffers.get(tensor.scratch);
    invariant(buffer && tensor.scratch.isRetained, `${tensor.scratch.label} was not retained`);
    return buffer;
  }
}

function bind(
  pipelines: PipelineCache,
  dispatch: RecordedDispatch,
  buffers: ReadonlyMap<Scratch, GPUBuffer>,
): GPUBindGroup {
  const entries = dispatch.resources.map((resource, i) => {
    const buffer = resource.kind === "scratch" ? buffers.get(resource.scratch) : resource.gpu;
    const label = resource.kind === "scratch" ? resource.scratch.label : resource.label;
    invariant(buffer, `${dispatch.kernel}: ${label} has no memory`);
    return { binding: dispatch.shader.bindings[i].index, resource: { buffer } };
  });
  return pipelines.device.createBindGroup({
    label: dispatch.kernel,
    layout: pipelines.layout(dispatch.shader),
    entries,
  });
}
