import type { CompanionStats, LoadOptions, MemoryPlan, PagingStats, Quantization } from "../api/types.ts";
import type {
  DecodeRow,
  ResolvedSampling,
  Runner,
  RunnerLimits,
  Sampled,
  SequenceStep,
  StateTransfer,
} from "../engine/runner.ts";
import { invariant } from "../errors.ts";
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { type PlanProfile, profilePlan } from "../gpu/profile-plan.ts";
import type { GpuTensor, GpuWeight } from "../gpu/resources.ts";
import type { ScratchArena } from "../gpu/scratch.ts";
import { convertWeights, type ModelWeights, mapWeights, sumWeights } from "../models/qwen3-next/weights.ts";
import type { ExpertArena } from "../paging/expert-arena.ts";
import type { ExpertHost } from "../paging/expert-host.ts";
import type { ExpertPager } from "../paging/expert-pager.ts";
import type { SharedExperts } from "../paging/shared-experts.ts";
import type { WeightSource } from "../weights/format.ts";
import { loadWeight, planWeight, weightBytes } from "../weights/load.ts";
import { type BranchOptions, branchBytes, makeBranch } from "./branch.ts";
import { ExpertSums } from "./expert-sums.ts";
import type { LayerHost } from "./layer-host.ts";
import {
  decodeSizes,
  partBytes,
  planMemory,
  prefillSizes,
  type RunnerOptions,
  type RunnerParts,
  runnerParts,
  scoreSizes,
} from "./memory-plan.ts";
import { expertArena, pagedSources, sparseLayers, withArena } from "./paged-experts.ts";
import { Readback } from "./readback.ts";
import { fetchKernels, type RecordedStep, recordStep, type StepKind, type StepSize } from "./record-step.ts";
import { Sampler } from "./sampler.ts";
import { type HiddenRows, StageSteps } from "./stage-steps.ts";
import { StateCopies } from "./state-copies.ts";

const WEIGHTS_AT_ONCE = 4;

/**
 * Dispatches after which a step that reads prompts is submitted: the device begins while a browser's other process is still
 * being told of the rest, which takes as long as reading a few hundred tokens of a small model.
 */
const CUTS = [12, 48];

export interface LoadRunnerOptions extends RunnerOptions {
  readonly device: Device;
  readonly quantization: Quantization;
  readonly onBytes?: (loaded: number) => void;
  /** All weights are there, pipelines are being compiled. */
  readonly onCompile?: () => void;
  /** Plans that are there from the beginning: those of a chat's steps, or all but those that give logits. Default `first`. */
  readonly compile?: LoadOptions["compile"];
  readonly signal?: AbortSignal;
  /** How a weight gets to the device. Default: it is read from its source. */
  readonly loadWeight?: typeof loadWeight;
  /** With fewer slots than experts the sources have to stay readable; this is called when that ends. */
  readonly onDispose?: () => void;
  /** Memory of its plans, where another runner's plans may come between their parts. By default the device's, for all. */
  readonly scratch?: ScratchArena;
  /** Who computes with the experts that this device does not hold. */
  readonly companion?: CompanionExperts;
}

export interface CompanionExperts extends ExpertHost {
  readonly stats: CompanionStats;
}

interface CompiledStep extends RecordedStep {
  readonly plan: Plan;
  readonly cuts: readonly number[];
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
  readonly #plans = new Map<string, CompiledStep | Promise<CompiledStep>>();
  readonly #results: Readback;
  readonly #logits: Readback;
  readonly #stageSteps: StageSteps;
  readonly memory: MemoryPlan;
  /** Bytes of weights that one token reads: all but the idle experts and the embedding's other rows. */
  readonly weightBytes: number;
  /** Set where the device holds some of the experts at a time. */
  readonly #pager: ExpertPager | SharedExperts | undefined;
  readonly #companion: CompanionExperts | undefined;
  #experts: ExpertSums | undefined;
  readonly #options: LoadRunnerOptions;
  /** Buffers that are its own, where the device and the weights are another runner's. */
  readonly #branch: readonly GPUBuffer[] | undefined;
  #isDisposed = false;
  readonly #copies: StateCopies;
  readonly transfer: StateTransfer;
  /** Slots of the batch that the next decode step can go on from. */
  #slots: readonly number[] = [];
  /** Set while a plan is being compiled: ends when all calls made so far have been submitted. */
  #delayed: Promise<void> | undefined;
  /** Set while a step may have to be submitted in parts: ends when its last part has been. */
  #submitting: Promise<unknown> | undefined;

  private constructor(
    options: LoadRunnerOptions,
    loaded: Pick<ModelRunner, "memory" | "weightBytes"> & {
      weights: ModelWeights<GpuWeight>;
      parts: RunnerParts;
      pager: ExpertPager | SharedExperts | undefined;
      branch?: readonly GPUBuffer[];
    },
  ) {
    const { device, companion } = options;
    this.#options = options;
    this.#device = device;
    this.#branch = loaded.branch;
    this.#companion = companion;
    this.#weights = loaded.weights;
    this.#parts = loaded.parts;
    this.#pager = loaded.pager;
    const copies = new StateCopies(device, loaded.parts);
    this.#copies = copies;
    this.transfer = {
      slotBytes: copies.slotBytes,
      blockBytes: copies.blockBytes,
      download: (slot, blocks) => this.#inOrder(undefined, () => this.#device.settled(copies.download(slot, blocks))),
      upload: (state, blocks) => this.#now(() => copies.upload(state, blocks)),
    };
    this.memory = loaded.memory;
    this.weightBytes = loaded.weightBytes;
    this.#results = new Readback(device.gpu, loaded.parts.sampler.results.sizeBytes);
    this.#logits = new Readback(device.gpu, loaded.parts.limits.vocabularySize * 4);
    this.#stageSteps = new StageSteps(device, loaded.parts, loaded.weights.embedding);
  }

  /**
   * Allocates state, uploads the weights, and compiles the plans that a chat needs. Whether the device allows buffers of
   * the sizes planned is checked before any is made. The device is the caller's to dispose of where this fails.
   *
   * @throws OutOfMemoryError, CheckpointError, DeviceLostError
   */
  static async load(sources: ModelWeights<WeightSource>, options: LoadRunnerOptions): Promise<ModelRunner> {
    const { device, quantization, signal, onBytes } = options;
    await fetchKernels(device.profile, options);
    const { memory, buffers } = planMemory(sources, device.profile, options);
    for (const { label, sizeBytes } of buffers) device.checkFits(label, sizeBytes);
    const stateBytes = memory.total - memory.weights - memory.scratch;
    const parts = await device.allocating("the state", stateBytes, () => runnerParts(options, device));
    let loaded = 0;
    const count = (bytes: number) => {
      loaded += bytes;
      onBytes?.(loaded);
    };
    const plan = (source: WeightSource) => planWeight(source, quantization);
    const planned = expertArena(sources, options);
    const arena =
      planned &&
      (await device.allocating("the experts", planned.slotBytes, () => expertArena(sources, options, device)));
    const paged = arena ? pagedSources(sources) : new Set();
    const load = async (source: WeightSource) =>
      paged.has(source)
        ? plan(source)
        : (options.loadWeight ?? loadWeight)(source, { device, quantization, signal, onBytes: count });
    // Several at once, so that reading goes on where one comes to its end.
    const weights = await mapWeights(sources, load, options.loadWeight ? 1 : WEIGHTS_AT_ONCE);
    device.uploads.dispose();
    const runner = new ModelRunner(options, {
      weights: withArena(weights, arena),
      parts,
      pager: arena && (await pagerOf(device, arena, parts, options.companion)),
      memory,
      weightBytes: sumWeights(convertWeights(sources, plan), weightBytes).active,
    });
    options.onCompile?.();
    const plans = plansFrom(options.compile ?? "first", parts.limits).map(([kind, size]) => runner.#plan(kind, size));
    for (const plan of plans) {
      await plan;
      signal?.throwIfAborted();
    }
    device.check();
    return runner;
  }

  get limits(): RunnerLimits {
    return this.#parts.limits;
  }

  get isLost(): boolean {
    return this.#device.lost !== undefined;
  }

  /** Kernels of a decode step for one sequence, in order. */
  get decodeKernels(): readonly string[] {
    return this.#compiled("decode", decodeSizes(this.limits)[0]).plan.kernels;
  }

  /** What the cache of experts has done so far, where the device does not hold all of them. */
  get paging(): PagingStats | undefined {
    return this.#pager?.stats;
  }

  get companion(): CompanionStats | undefined {
    const stats = this.#companion?.stats;
    const isAlone = this.#pager && "isAlone" in this.#pager && this.#pager.isAlone;
    return stats && (isAlone ? { ...stats, state: "replaced" } : stats);
  }

  /** The model's experts for others to compute with, where it has them all. */
  get experts(): ExpertHost | undefined {
    const layers = sparseLayers(this.#weights);
    if (this.#pager || layers.length === 0) return undefined;
    this.#experts ??= new ExpertSums(this.#device, layers);
    return this.#experts;
  }

  /** Its layers for others to run with states of their own, where it has them all. */
  get layers(): LayerHost | undefined {
    if (this.#pager || this.#parts.isInner) return undefined;
    const { layers, embedding } = this.#weights;
    return {
      count: layers.length,
      hidden: embedding.columns,
      maxBatchTokens: this.limits.maxBatchTokens,
      bytes: (options) => branchBytes(this.#options, options, embedding.columns),
      open: (options) => this.#open(options),
    };
  }

  async #open(options: BranchOptions): Promise<ModelRunner> {
    this.#check();
    await fetchKernels(this.#device.profile, options);
    const { weights, parts, buffers } = await makeBranch(this.#device, this.#options, this.#weights, options);
    const own = { ...partBytes(parts), weights: 0, scratch: 0 };
    const memory = { ...own, total: Object.values(own).reduce((a, b) => a + b, 0) };
    return new ModelRunner(this.#options, {
      weights,
      parts,
      pager: undefined,
      memory,
      weightBytes: 0,
      branch: buffers,
    });
  }

  /** Results read from the device so far. */
  get readbacks(): number {
    return this.#results.count + this.#logits.count + this.#stageSteps.count;
  }

  setSampling(
    slot: number,
    sampling: ResolvedSampling,
    prompt: ArrayLike<number>,
    reply: ArrayLike<number> = [],
  ): void {
    this.#device.check();
    this.#now(() => this.#parts.sampler.set(slot, sampling, prompt, reply));
  }

  /** Of a later stage, `hidden` [rows, H] is what the stage before has left of the tokens; here and in the other steps. */
  async prefill(steps: readonly SequenceStep[], hidden?: HiddenRows): Promise<readonly (Sampled | undefined)[]> {
    // Those that draw come first in the batch.
    const order = [...steps.keys()].sort((a, b) => Number(steps[b].sample ?? false) - Number(steps[a].sample ?? false));
    const ordered = order.map((i) => steps[i]);
    const drawing = ordered.filter(({ sample }) => sample);
    const plan = this.#planFor(drawing.length > 0 ? "sample" : "prefill", ordered);
    const drawn = await this.#inOrder(plan, async (compiled) => {
      this.#writeBatch(ordered, drawing.length, { hidden });
      if (drawing.length > 0) return this.#submit(compiled, drawing);
      await this.#execute(compiled, () => {});
      await this.#device.settled(this.#device.queue.onSubmittedWorkDone());
      return [];
    });
    return steps.map((_, i) => drawn[order.indexOf(i)]);
  }

  decode(rows: readonly DecodeRow[], hidden?: HiddenRows): Promise<readonly (Sampled | undefined)[]> {
    const { batch, rope } = this.#parts;
    const known = rows.findIndex(({ token }) => token !== undefined);
    const kept = known < 0 ? rows.length : known;
    return this.#inOrder(this.#decodePlan(rows.length), (compiled) => {
      this.#device.check();
      const isPlain = !this.#pager && rows.every(({ mask, logits }) => !mask && !logits);
      const isAhead = hidden !== undefined && isPlain;
      const isSame = rows.every(({ slot }, i) => i >= kept || slot === this.#slots[i]);
      invariant(isSame, `a step of slots ${rows.map(({ slot }) => slot)} cannot go on from one of ${this.#slots}`);
      if (kept === rows.length && kept === this.#slots.length) {
        batch.writeBlocks(this.#device.queue, rows);
        rope.fill(this.#device.queue, 1 + Math.max(...rows.map(({ position }) => position)));
      } else {
        const steps = rows.map((row) => ({ ...row, tokens: [row.token ?? 0] }));
        this.#writeBatch(steps, rows.length, { hidden, kept, isAhead });
      }
      return isAhead ? this.#stageSteps.draw(compiled, rows.length, hidden) : this.#submit(compiled, rows);
    });
  }

  /** Logits of all rows of a step, and with `trace` all that passes between layers. Reads the tokens into the state. */
  score(step: SequenceStep, trace = false, hidden?: HiddenRows): Promise<Scores> {
    return this.#inOrder(this.#planFor(trace ? "trace" : "score", [step]), async (compiled) => {
      this.#writeBatch([step], 1, { hidden });
      const wanted = [compiled.logits!, ...compiled.hidden, ...compiled.experts];
      const bytes = await this.#run(compiled, wanted, step.tokens.length);
      const hiddenEnd = 1 + compiled.hidden.length;
      return {
        logits: new Float32Array(bytes[0]),
        hidden: bytes.slice(1, hiddenEnd).map((b) => new Float32Array(b)),
        experts: bytes.slice(hiddenEnd).map((b) => new Uint32Array(b)),
      };
    });
  }

  /** Runs a step of an inner stage: what its layers leave [rows, H], the rows of the steps one after another. */
  pass(step: {
    readonly kind: "prefill" | "decode";
    readonly steps: readonly SequenceStep[];
    readonly hidden?: HiddenRows;
  }): Promise<HiddenRows> {
    const { kind, steps, hidden } = step;
    const plan = kind === "decode" ? this.#decodePlan(steps.length) : this.#planFor("sample", steps);
    return this.#inOrder(plan, async (compiled) => {
      const isAhead = kind === "decode" && !this.#pager;
      this.#writeBatch(steps, 0, { hidden, isAhead });
      if (isAhead) return this.#stageSteps.pass(compiled, steps.length, hidden);
      const [bytes] = await this.#run(compiled, compiled.hidden, countTokens(steps));
      return new Float32Array(bytes);
    });
  }

  /** Between two steps of a stage, as `StageSteps` says. */
  encodeAhead(): void {
    this.#stageSteps.encodeNext();
  }

  /** Between two steps of a stage that are far apart, as `StageSteps` says. */
  keepAwake(): void {
    this.#stageSteps.keepAwake();
  }

  /** The experts [rows, k] that each sparse layer chooses. Reads the tokens into the state. */
  async routing(step: SequenceStep): Promise<Uint32Array[]> {
    const compiled = await this.#prepare(step, "routing");
    const bytes = await this.#run(compiled, compiled.experts, step.tokens.length);
    return bytes.map((b) => new Uint32Array(b));
  }

  /**
   * What a step takes on the device; a decode step is one of as many rows as the batch holds from the last. Moves the state
   * as some steps do.
   */
  async profile(kind: "decode" | "prefill", step?: SequenceStep): Promise<PlanProfile> {
    const compiled = step ? await this.#prepare(step, kind) : await this.#decodePlan(this.#slots.length);
    const profile = () => profilePlan(this.#device.gpu, compiled.plan);
    return this.#pager && "pretending" in this.#pager ? this.#pager.pretending(profile) : profile();
  }

  copyState(from: number, to: number): void {
    this.#now(() => this.#copies.copyState(from, to));
  }

  copyBlock(from: number, to: number): void {
    this.#now(() => this.#copies.copyBlock(from, to));
  }

  /** Bytes that are allocated now, which `memory` foretold. */
  get allocatedBytes(): number {
    return this.#device.allocatedBytes;
  }

  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    if (this.#pager) {
      this.#pager.dispose();
      this.#options.onDispose?.();
    }
    this.#results.dispose();
    this.#logits.dispose();
    this.#stageSteps.dispose();
    if (this.#branch) this.#device.free(this.#branch);
    else this.#device.dispose();
  }

  /** Takes the steps' place in the order of calls, and compiles what they need. */
  async #prepare(step: SequenceStep, kind: StepKind): Promise<CompiledStep> {
    const compiled = await this.#planFor(kind, [step]);
    this.#writeBatch([step]);
    return compiled;
  }

  /** The first `kept` steps are of rows that the device has moved on itself. What a step is encoded ahead of is not written here. */
  #writeBatch(
    given: readonly SequenceStep[],
    draws = given.length,
    {
      hidden,
      kept,
      isAhead,
    }: { readonly hidden?: HiddenRows; readonly kept?: number; readonly isAhead?: boolean } = {},
  ): void {
    this.#check();
    const { rope, batch } = this.#parts;
    if (hidden && !isAhead) this.#device.queue.writeBuffer(this.#weights.embedding.data!, 0, hidden);
    const steps = hidden ? numbered(given) : given;
    rope.fill(this.#device.queue, 1 + Math.max(...steps.map(({ position, tokens }) => position + tokens.length)));
    batch.write(this.#device.queue, steps, draws, { kept, withoutTokens: isAhead && !hidden });
    this.#slots = steps.slice(0, draws).map(({ slot }) => slot);
  }

  #planFor(kind: StepKind, steps: readonly SequenceStep[]): CompiledStep | Promise<CompiledStep> {
    const { limits } = this.#parts;
    const rows = countTokens(steps);
    const sizes = kind === "score" ? scoreSizes(limits) : prefillSizes(limits);
    const size = sizes.find((size) => size.rows >= rows && size.sequences >= steps.length);
    invariant(size, `a step of ${rows} tokens of ${steps.length} sequences, more than ${limits.maxBatchTokens}`);
    return this.#plan(kind, size);
  }

  #decodePlan(rows: number): CompiledStep | Promise<CompiledStep> {
    const size = decodeSizes(this.limits).find(({ sequences }) => sequences >= rows);
    invariant(size && rows > 0, `a decode step of ${rows} rows`);
    return this.#plan("decode", size);
  }

  #plan(kind: StepKind, size: StepSize): CompiledStep | Promise<CompiledStep> {
    const key = planKey(kind, size);
    const known = this.#plans.get(key);
    if (known) return known;
    const compiling = this.#compile(kind, size);
    this.#plans.set(key, compiling);
    compiling.then(
      (compiled) => this.#plans.set(key, compiled),
      () => this.#plans.delete(key),
    );
    return compiling;
  }

  #compiled(kind: StepKind, size: StepSize): CompiledStep {
    return this.#plans.get(planKey(kind, size)) as CompiledStep;
  }

  async #compile(kind: StepKind, size: StepSize): Promise<CompiledStep> {
    const { pipelines, arena, profile } = this.#device;
    const recorded = recordStep(kind, size, this.#weights, this.#parts, profile);
    const plan = await this.#device.settled(Plan.compile(recorded.recorder, pipelines, this.#options.scratch ?? arena));
    return { ...recorded, plan, cuts: kind === "decode" ? [] : CUTS };
  }

  /**
   * Submits at once, unless a plan is not there yet: then all later calls wait with it. Where experts may be missing, a step
   * may have to be submitted in parts, and later calls wait for the last.
   */
  #inOrder<P, T>(plan: P | Promise<P>, submit: (plan: P) => Promise<T>): Promise<T> {
    if (!this.#pager && !this.#delayed && !(plan instanceof Promise)) return submit(plan);
    const submitted = Promise.resolve(this.#delayed)
      .then(() => plan)
      .then(async (ready) => {
        const result = submit(ready);
        // Whoever waits for the result hears of its failure.
        result.catch(() => {});
        await this.#submitting?.catch(() => {});
        return { result };
      });
    const delayed = submitted
      .then(
        () => {},
        () => {},
      )
      .then(() => {
        if (this.#delayed === delayed) this.#delayed = undefined;
      });
    this.#delayed = delayed;
    return submitted.then(({ result }) => result);
  }

  /** Does what needs no plan in its turn. */
  #now(action: () => void): void {
    if (this.#isGone) return;
    if (!this.#delayed) action();
    // A device that is lost meanwhile fails the steps.
    else this.#inOrder(undefined, async () => !this.#isGone && action()).catch(() => {});
  }

  /** Buffers that are gone must not be used: that would be a fault of the device, which others may share. */
  #check(): void {
    invariant(!this.#isGone, "a step of layers that were disposed of");
    this.#device.check();
  }

  get #isGone(): boolean {
    return this.#branch !== undefined && this.#isDisposed;
  }

  /**
   * Submits a step and what `finish` adds behind it, at once where all experts are there. `drop` undoes a `finish`.
   * `beforeDraw` is called while the device is at work on the layers.
   */
  async #execute<T>(
    { plan, drawsFrom, cuts }: CompiledStep,
    finish: (encoder: GPUCommandEncoder) => T,
    drop: (added: T) => void = () => {},
    beforeDraw?: () => void,
  ): Promise<T> {
    if (this.#pager) {
      beforeDraw?.();
      const running = this.#pager.run(plan, finish, drop);
      this.#submitting = running;
      return this.#device.settled(running);
    }
    const ends = beforeDraw ? [...cuts, drawsFrom] : cuts;
    let from = 0;
    for (const to of ends.filter((end) => end <= drawsFrom)) {
      this.#encode(plan, from, to);
      from = to;
    }
    beforeDraw?.();
    return this.#encode(plan, from, undefined, finish);
  }

  #encode<T>(plan: Plan, from: number, to?: number, finish?: (encoder: GPUCommandEncoder) => T): T {
    const encoder = this.#device.gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    plan.encode(pass, from, to);
    pass.end();
    const added = finish?.(encoder);
    this.#device.queue.submit([encoder.finish()]);
    return added as T;
  }

  /** Runs a step and reads the first `rows` rows of tensors. */
  async #run(compiled: CompiledStep, wanted: readonly GpuTensor[], rows: number): Promise<ArrayBuffer[]> {
    const staging = wanted.map((tensor) =>
      this.#device.gpu.createBuffer({
        size: rows * tensor.columns * 4,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      }),
    );
    await this.#execute(compiled, (encoder) => {
      for (const [i, buffer] of staging.entries()) {
        encoder.copyBufferToBuffer(compiled.plan.bufferOf(wanted[i]), 0, buffer, 0, buffer.size);
      }
    });
    return Promise.all(
      staging.map(async (buffer) => {
        await this.#device.settled(buffer.mapAsync(GPUMapMode.READ));
        const copy = buffer.getMappedRange().slice(0);
        buffer.destroy();
        return copy;
      }),
    );
  }

  /** Submits a step whose first sequences draw, and reads their results back. */
  async #submit(
    step: CompiledStep,
    drawing: readonly Pick<SequenceStep, "logits" | "mask" | "slot">[],
  ): Promise<(Sampled | undefined)[]> {
    const { sampler, limits } = this.#parts;
    const rowBytes = limits.vocabularySize * 4;
    const masked = drawing.filter(({ mask }) => mask);
    const setMasks = () => {
      for (const { slot, mask } of masked) sampler.setMask(slot, mask!());
    };
    const { results, scores } = await this.#execute(
      step,
      (encoder) => ({
        results: this.#results.copy(encoder, sampler.results.gpu!),
        scores: drawing.map(({ logits }, s) =>
          logits ? this.#logits.copy(encoder, step.plan.bufferOf(step.logits!), s * rowBytes) : undefined,
        ),
      }),
      ({ results, scores }) => {
        this.#results.release(results);
        for (const staging of scores) if (staging) this.#logits.release(staging);
      },
      masked.length > 0 ? setMasks : undefined,
    );
    const reading = [
      this.#results.read(results, (bytes) => drawing.map((_, s) => Sampler.parse(bytes, s))),
      ...scores.map((staging) => staging && this.#logits.read(staging, (bytes) => new Float32Array(bytes.slice(0)))),
    ] as const;
    const [sampled, ...logits] = await this.#device.settled(Promise.all(reading));
    return (sampled as (Sampled | undefined)[]).map(
      (one, s) => one && (logits[s] ? { ...one, logits: logits[s] as Float32Array } : one),
    );
  }
}

/** Fetched where it is needed: most models fit a device. */
async function pagerOf(device: Device, arena: ExpertArena, { batch }: RunnerParts, companion?: CompanionExperts) {
  if (!companion) {
    const { ExpertPager } = await import("../paging/expert-pager.ts");
    return new ExpertPager(device, arena, batch);
  }
  const { SharedExperts } = await import("../paging/shared-experts.ts");
  const layers = arena.weights.map((_, layer) => ({ ...arena.experts(layer, undefined), paging: undefined }));
  return new SharedExperts(device, arena, companion, new ExpertSums(device, layers));
}

/** The plans that are compiled while loading, those first that take most memory: it is enough for the others. */
function plansFrom(compile: "first" | "all", limits: RunnerLimits): (readonly [StepKind, StepSize])[] {
  const decode = decodeSizes(limits).map((size) => ["decode", size] as const);
  if (compile === "first") return [["sample", prefillSizes({ ...limits, maxPrefillSequences: 1 }).at(-1)!], ...decode];
  const sizes = prefillSizes(limits).sort((a, b) => b.rows - a.rows || b.sequences - a.sequences);
  return [...sizes.flatMap((size) => [["sample", size] as const, ["prefill", size] as const]), ...decode];
}

const planKey = (kind: StepKind, { rows, sequences }: StepSize) => `${kind} ${rows} × ${sequences}`;

const countTokens = (steps: readonly SequenceStep[]): number =>
  steps.reduce((sum, { tokens }) => sum + tokens.length, 0);

/** Steps whose tokens are the numbers of their rows. */
function numbered(steps: readonly SequenceStep[]): SequenceStep[] {
  let row = 0;
  return steps.map((step) => ({ ...step, tokens: Array.from(step.tokens, () => row++) }));
}
