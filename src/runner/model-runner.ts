import type { MemoryPlan, Quantization } from "../api/types.ts";
import type { ResolvedSampling, Runner, RunnerLimits, Sampled, SequenceStep } from "../engine/runner.ts";
import { invariant } from "../errors.ts";
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { profilePlan } from "../gpu/profile-plan.ts";
import type { GpuTensor, GpuWeight } from "../gpu/resources.ts";
import { type ModelWeights, mapWeights, sumWeights } from "../models/qwen3-next/weights.ts";
import type { WeightSource } from "../weights/format.ts";
import { loadWeight, weightBytes } from "../weights/load.ts";
import { LIVE_SLOTS } from "./layer-states.ts";
import { planMemory, type RunnerOptions, type RunnerParts, runnerParts } from "./memory-plan.ts";
import { Readback } from "./readback.ts";
import { type RecordedStep, recordStep, type StepKind } from "./record-step.ts";
import { Sampler } from "./sampler.ts";

export interface LoadRunnerOptions extends RunnerOptions {
  readonly device: Device;
  readonly quantization: Quantization;
  readonly onBytes?: (loaded: number) => void;
  /** All weights are there, pipelines are being compiled. */
  readonly onCompile?: () => void;
  readonly signal?: AbortSignal;
  /** How a weight gets to the device. Default: it is read from its source. */
  readonly loadWeight?: typeof loadWeight;
}

interface CompiledStep extends RecordedStep {
  readonly plan: Plan;
}

/** What `score` reads of a step: all rows' logits, and what a trace saw. */
export interface Scores {
  /** [rows, V] */
  readonly logits: Float32Array;
  /** The residual stream [rows, H] before layer i; last, after the final norm. */
  readonly hidden: readonly Float32Array[];
  /** Per sparse layer the chosen experts [rows, k]. */
  readonly experts: readonly Uint32Array[];
}

/** A model on one GPU: its weights, its state, and a plan for every kind of step, recorded when first needed. */
export class ModelRunner implements Runner {
  readonly #device: Device;
  readonly #weights: ModelWeights<GpuWeight>;
  readonly #parts: RunnerParts;
  readonly #plans = new Map<string, Promise<CompiledStep>>();
  readonly #results: Readback;
  readonly #logits: Readback;
  readonly memory: MemoryPlan;
  #decode: CompiledStep | undefined;
  #position = 0;

  private constructor(device: Device, weights: ModelWeights<GpuWeight>, parts: RunnerParts, memory: MemoryPlan) {
    this.#device = device;
    this.#weights = weights;
    this.#parts = parts;
    this.memory = memory;
    this.#results = new Readback(device.gpu, parts.sampler.results.sizeBytes);
    this.#logits = new Readback(device.gpu, parts.limits.vocabularySize * 4);
  }

  /**
   * Allocates state, uploads the weights, and compiles the plans that a chat needs. Whether the device allows buffers of
   * the sizes planned is checked before any is made. The device is the caller's to dispose of where this fails.
   *
   * @throws OutOfMemoryError, CheckpointError, DeviceLostError
   */
  static async load(sources: ModelWeights<WeightSource>, options: LoadRunnerOptions): Promise<ModelRunner> {
    const { device, quantization, signal, onBytes } = options;
    const { memory, buffers } = planMemory(sources, device.profile, options);
    for (const { label, sizeBytes } of buffers) device.checkFits(label, sizeBytes);
    const stateBytes = memory.total - memory.weights - memory.scratch;
    const parts = await device.allocating("the state", stateBytes, () => runnerParts(options, device));
    let loaded = 0;
    const count = (bytes: number) => {
      loaded += bytes;
      onBytes?.(loaded);
    };
    const weights = await mapWeights(sources, (source) =>
      (options.loadWeight ?? loadWeight)(source, { device, quantization, signal, onBytes: count }),
    );
    const runner = new ModelRunner(device, weights, parts, memory);
    options.onCompile?.();
    runner.#decode = await runner.#plan("decode", 1);
    signal?.throwIfAborted();
    await runner.#plan("sample", runner.#buckets.at(-1)!);
    signal?.throwIfAborted();
    device.check();
    return runner;
  }

  get limits(): RunnerLimits {
    return this.#parts.limits;
  }

  get isLost(): boolean {
    return this.#device.lost !== undefined;
  }

  /** Kernels of a decode step, in order. */
  get decodeKernels(): readonly string[] {
    return this.#decode!.plan.kernels;
  }

  /** Bytes of weights that one token reads: all but the idle experts and the embedding's other rows. */
  get weightBytes(): number {
    return sumWeights(this.#weights, weightBytes).active;
  }

  /** Results read from the device so far. */
  get readbacks(): number {
    return this.#results.count + this.#logits.count;
  }

  setSampling(sampling: ResolvedSampling, prompt: ArrayLike<number>): void {
    this.#device.check();
    this.#parts.sampler.set(0, sampling, prompt);
  }

  async prefill(
    step: SequenceStep,
    options: { readonly sample: boolean; readonly logits?: boolean },
  ): Promise<Sampled | undefined> {
    const compiled = await this.#prepare(step, options.sample ? "sample" : "prefill");
    const encoder = this.#encode(compiled);
    if (options.sample) return this.#submit(encoder, compiled, options.logits ?? false);
    this.#device.queue.submit([encoder.finish()]);
    await this.#settled(this.#device.queue.onSubmittedWorkDone());
    return undefined;
  }

  decode(options?: { readonly logits?: boolean }): Promise<Sampled | undefined> {
    this.#device.check();
    const compiled = this.#decode!;
    const { rope } = this.#parts;
    rope.fill(this.#device.queue, ++this.#position + 1);
    return this.#submit(this.#encode(compiled), compiled, options?.logits ?? false);
  }

  /** Logits of all rows of a step, and with `trace` all that passes between layers. Reads the tokens into the state. */
  async score(step: SequenceStep, trace: boolean): Promise<Scores> {
    const compiled = await this.#prepare(step, trace ? "trace" : "score");
    const rows = step.tokens.length;
    const wanted = [compiled.logits!, ...compiled.hidden, ...compiled.experts];
    const bytes = await this.#run(compiled, wanted, rows);
    const hiddenEnd = 1 + compiled.hidden.length;
    return {
      logits: new Float32Array(bytes[0]),
      hidden: bytes.slice(1, hiddenEnd).map((b) => new Float32Array(b)),
      experts: bytes.slice(hiddenEnd).map((b) => new Uint32Array(b)),
    };
  }

  /** The experts [rows, k] that each sparse layer chooses. Reads the tokens into the state. */
  async routing(step: SequenceStep): Promise<Uint32Array[]> {
    const compiled = await this.#prepare(step, "routing");
    const bytes = await this.#run(compiled, compiled.experts, step.tokens.length);
    return bytes.map((b) => new Uint32Array(b));
  }

  /** Nanoseconds on the device of every kernel of a step, in order. Moves the state as the step does. */
  async profile(kind: "decode" | "prefill", step?: SequenceStep): Promise<{ kernel: string; ns: number }[]> {
    const compiled = step ? await this.#prepare(step, kind) : this.#decode!;
    return profilePlan(this.#device.gpu, compiled.plan);
  }

  copyState(from: number, to: number): void {
    const { states } = this.#parts;
    const encoder = this.#device.gpu.createCommandEncoder({ label: "copy state" });
    for (const state of states) {
      if (state.kind === "kv") continue;
      for (const part of ["conv", "delta"] as const) {
        const slotBytes = state[part].sizeBytes / LIVE_SLOTS;
        const at = (slot: number) =>
          slot < LIVE_SLOTS
            ? ([state[part].gpu!, slot * slotBytes] as const)
            : ([state.snapshots[part].gpu!, (slot - LIVE_SLOTS) * slotBytes] as const);
        encoder.copyBufferToBuffer(...at(from), ...at(to), slotBytes);
      }
    }
    this.#device.queue.submit([encoder.finish()]);
  }

  /** Bytes that are allocated now, which `memory` foretold. */
  get allocatedBytes(): number {
    return this.#device.allocatedBytes;
  }

  dispose(): void {
    this.#results.dispose();
    this.#logits.dispose();
    this.#device.dispose();
  }

  /** Plans are recorded for so many rows; a step takes the smallest that holds it. */
  get #buckets(): readonly number[] {
    const { maxBatchTokens } = this.#parts.limits;
    return [...[64].filter((rows) => rows < maxBatchTokens), maxBatchTokens];
  }

  async #prepare(step: SequenceStep, kind: StepKind): Promise<CompiledStep> {
    this.#device.check();
    const rows = step.tokens.length;
    const { rope, batch, limits } = this.#parts;
    const bucket = this.#buckets.find((size) => size >= rows);
    invariant(bucket, `a step of ${rows} tokens, more than ${limits.maxBatchTokens}`);
    const compiled = await this.#plan(kind, bucket);
    this.#position = step.position + rows;
    rope.fill(this.#device.queue, this.#position + 1);
    batch.write(this.#device.queue, [step]);
    return compiled;
  }

  #plan(kind: StepKind, rows: number): Promise<CompiledStep> {
    const key = `${kind} ${rows}`;
    let step = this.#plans.get(key);
    if (!step) {
      step = this.#compile(kind, rows);
      step.catch(() => this.#plans.delete(key));
      this.#plans.set(key, step);
    }
    return step;
  }

  async #compile(kind: StepKind, rows: number): Promise<CompiledStep> {
    const { pipelines, arena, profile } = this.#device;
    const recorded = recordStep(kind, rows, this.#weights, this.#parts, profile);
    const plan = await this.#settled(Plan.compile(recorded.recorder, pipelines, arena));
    return { ...recorded, plan };
  }

  #encode({ plan }: CompiledStep): GPUCommandEncoder {
    const encoder = this.#device.gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    plan.encode(pass);
    pass.end();
    return encoder;
  }

  /** Runs a step and reads the first `rows` rows of tensors. */
  async #run(compiled: CompiledStep, wanted: readonly GpuTensor[], rows: number): Promise<ArrayBuffer[]> {
    const encoder = this.#encode(compiled);
    const staging = wanted.map((tensor) => {
      const buffer = this.#device.gpu.createBuffer({
        size: rows * tensor.columns * 4,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
      encoder.copyBufferToBuffer(compiled.plan.bufferOf(tensor), 0, buffer, 0, buffer.size);
      return buffer;
    });
    this.#device.queue.submit([encoder.finish()]);
    return Promise.all(
      staging.map(async (buffer) => {
        await this.#settled(buffer.mapAsync(GPUMapMode.READ));
        const copy = buffer.getMappedRange().slice(0);
        buffer.destroy();
        return copy;
      }),
    );
  }

  /** Submits a step that samples, and reads its result back. */
  async #submit(encoder: GPUCommandEncoder, step: CompiledStep, wantLogits: boolean): Promise<Sampled | undefined> {
    const results = this.#results.copy(encoder, this.#parts.sampler.results.gpu!);
    const logits = wantLogits ? this.#logits.copy(encoder, step.plan.bufferOf(step.logits as GpuTensor)) : undefined;
    this.#device.queue.submit([encoder.finish()]);
    const sampled = await this.#settled(this.#results.read(results, (bytes) => Sampler.parse(bytes, 0)));
    if (!logits) return sampled;
    const copy = await this.#settled(this.#logits.read(logits, (bytes) => new Float32Array(bytes.slice(0))));
    return sampled && { ...sampled, logits: copy };
  }

  /** What fails because the device is gone fails with `DeviceLostError`. */
  async #settled<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      // The loss is told a little after what it breaks.
      await new Promise((resolve) => setTimeout(resolve, 0));
      this.#device.check();
      throw error;
    }
  }
}
