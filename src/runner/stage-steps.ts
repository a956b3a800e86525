import type { Sampled } from "../engine/runner.ts";
import type { Device } from "../gpu/device.ts";
import { IdleWork } from "../gpu/idle-work.ts";
import type { Plan } from "../gpu/plan.ts";
import type { GpuWeight } from "../gpu/resources.ts";
import type { RunnerParts } from "./memory-plan.ts";
import type { RecordedStep } from "./record-step.ts";
import { Sampler } from "./sampler.ts";
import { type StepAhead, StepsAhead } from "./steps-ahead.ts";

/** What a layer has left [rows, H]. */
export type HiddenRows = Float32Array<ArrayBuffer>;

/** A decode step of a stage. */
interface StageStep extends Pick<RecordedStep, "hidden" | "logits"> {
  readonly plan: Plan;
}

/** Decode steps of a stage, which are encoded ahead: the rows, or tokens where it is the first, go to the device last of all. */
export class StageSteps {
  readonly #device: Device;
  readonly #parts: Pick<RunnerParts, "batch" | "sampler">;
  readonly #embedding: GpuWeight;
  readonly #ahead: StepsAhead;
  /** Someone says when there is time to encode. */
  #isTold = false;
  #idleWork: IdleWork | undefined;
  #isDisposed = false;

  constructor(device: Device, parts: Pick<RunnerParts, "batch" | "sampler">, embedding: GpuWeight) {
    this.#device = device;
    this.#parts = parts;
    this.#embedding = embedding;
    this.#ahead = new StepsAhead(device.gpu);
  }

  /** Results read so far. */
  get count(): number {
    return this.#ahead.count;
  }

  /** Runs a step of an inner stage: what its layers leave [rows, H]. Without `hidden`, of the tokens in the batch. */
  pass({ plan, hidden: [x] }: StageStep, rows: number, hidden?: HiddenRows): Promise<HiddenRows> {
    const output = { buffer: plan.bufferOf(x), offset: 0, sizeBytes: x.rows * x.columns * 4 };
    const use = (bytes: ArrayBuffer) => new Float32Array(bytes.slice(0, rows * x.columns * 4));
    return this.#run(plan, x.rows, { hidden, output, use });
  }

  /** Runs a step of the last stage. */
  draw({ plan, logits }: StageStep, rows: number, hidden: HiddenRows): Promise<(Sampled | undefined)[]> {
    const { gpu, sizeBytes } = this.#parts.sampler.results;
    const use = (bytes: ArrayBuffer) => Array.from({ length: rows }, (_, s) => Sampler.parse(bytes, s));
    return this.#run(plan, logits!.rows, { hidden, output: { buffer: gpu!, offset: 0, sizeBytes }, use });
  }

  /** Encodes the next step. Whoever hands results on calls this then; where nobody does, it is done a moment after a result. */
  encodeNext(): void {
    this.#isTold = true;
    this.#encode();
  }

  /** Keeps the device's clocks up until the next step comes, which will be a while. A CPU has better things to do. */
  keepAwake(): void {
    if (this.#isGone || this.#device.profile.serialWorkgroups) return;
    this.#idleWork ??= new IdleWork(this.#device.gpu);
    this.#idleWork.submit();
  }

  dispose(): void {
    this.#isDisposed = true;
    this.#ahead.dispose();
  }

  async #run<T>(
    plan: Plan,
    maxRows: number,
    step: { hidden?: HiddenRows; output: StepAhead["output"]; use: (bytes: ArrayBuffer) => T },
  ): Promise<T> {
    const { hidden, output, use } = step;
    const { batch } = this.#parts;
    const { data, columns } = this.#embedding;
    const tokens = batch.tokens(maxRows);
    const input = hidden
      ? { buffer: data!, offset: 0, sizeBytes: maxRows * columns * 4 }
      : { buffer: batch.gpu!, offset: tokens.offset, sizeBytes: tokens.words.byteLength };
    const read = this.#ahead.submit({ plan, input, output }, hidden ?? tokens.words);
    batch.foresee(this.#device.queue);
    // The device is busy for far longer with several rows than the host with encoding, and another part may come at once.
    if (maxRows > 1) this.#encode();
    const result = await this.#device.settled(read(use));
    if (!this.#isTold) setTimeout(() => this.#encode(), 0);
    return result;
  }

  #encode(): void {
    if (!this.#isGone) this.#ahead.ready();
  }

  get #isGone(): boolean {
    return this.#isDisposed || this.#device.lost !== undefined;
  }
}
