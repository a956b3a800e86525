import type { SequenceStep } from "../../src/engine/runner.ts";
import { PipelineCache } from "../../src/gpu/pipelines.ts";
import { Plan } from "../../src/gpu/plan.ts";
import { type DeviceProfile, profileOf } from "../../src/gpu/profile.ts";
import { Recorder } from "../../src/gpu/recorder.ts";
import type { GpuBuffer, GpuTensor, GpuWeight } from "../../src/gpu/resources.ts";
import { ScratchArena } from "../../src/gpu/scratch.ts";
import type { GpuContext } from "../../src/ops/gpu/gpu-ops.ts";
import { BatchBuffer, type BatchLimits, batchConstants } from "../../src/runner/batch-buffer.ts";
import type { WeightRows } from "../../src/weights/format.ts";
import { readBuffer, testDevice } from "./gpu.ts";

export interface HarnessOptions {
  /** Products of matrices, which round to f16, are left out unless `matrix` is false. */
  readonly without?: Partial<
    Record<"f16" | "subgroups" | "matrix" | "packedDot" | "specialize" | "serialWorkgroups", boolean>
  >;
  /** Facts of another device, to see what it would run. */
  readonly profile?: Partial<DeviceProfile>;
  readonly limits?: Partial<BatchLimits>;
  /** `basic` offers what every browser promises, and no more. */
  readonly device?: "full" | "basic";
}

/**
 * A bench for one or a few kernels: fill inputs, record ops, run, read outputs. All scratch is NaN before a run, so that
 * what a kernel leaves unwritten shows.
 */
export class KernelHarness {
  readonly recorder: Recorder;
  readonly context: GpuContext;
  readonly #inputs: { tensor: GpuTensor; data: ArrayBufferView<ArrayBuffer> }[] = [];
  readonly #outputs: GpuTensor[] = [];
  readonly #owned: GPUBuffer[] = [];
  readonly #arena: ScratchArena;
  readonly batch: BatchBuffer;
  #plan: Plan | undefined;

  private constructor(
    readonly device: GPUDevice,
    readonly profile: DeviceProfile,
    limits: BatchLimits,
    readonly pipelines: PipelineCache,
  ) {
    this.recorder = new Recorder(profile, batchConstants(limits));
    this.#arena = new ScratchArena(device);
    const sizeBytes = new BatchBuffer(limits).sizeBytes;
    this.batch = new BatchBuffer(limits, this.#create("batch", sizeBytes));
    this.context = { recorder: this.recorder, batchBuffer: this.batch, rope: this.buffer("rope", new Float32Array(4)) };
  }

  static async create(options: HarnessOptions = {}): Promise<KernelHarness> {
    const { device, adapter, languageFeatures } = await testDevice(options.device);
    const limits = { maxTokens: 256, maxSequences: 4, maxBlocks: 16, blockTokens: 64, ...options.limits };
    const cache = caches.get(device) ?? new PipelineCache(device);
    caches.set(device, cache);
    const profile = {
      ...profileOf(device, adapter.info, languageFeatures, { matrix: true, ...options.without }),
      ...options.profile,
    };
    return new KernelHarness(device, profile, limits, cache);
  }

  /** A tensor that holds `data` when the plan starts. */
  input(
    label: string,
    rows: number,
    columns: number,
    data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>,
  ): GpuTensor {
    const tensor = this.recorder.retain(this.recorder.tensor(label, rows, columns));
    tensor.scratch.firstUse = 0;
    this.#inputs.push({ tensor, data });
    return tensor;
  }

  /** Marks a tensor to be read after the run. */
  output(tensor: GpuTensor): GpuTensor {
    this.#outputs.push(this.recorder.retain(tensor));
    return tensor;
  }

  weight(label: string, rows: WeightRows): GpuWeight {
    const { format, columns } = rows;
    const data = this.#upload(label, rows.data);
    const scales = rows.scales && this.#upload(`${label} scales`, rows.scales);
    return { kind: "weight", label, format, rows: rows.rows, columns, data, scales };
  }

  vector(label: string, data: Float32Array<ArrayBuffer>): GpuWeight {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return this.weight(label, { format: "f32", rows: 1, columns: data.length, data: bytes });
  }

  /** A buffer that outlives the run: caches and states. */
  buffer(label: string, data: Float32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>): GpuBuffer {
    return { kind: "buffer", label, sizeBytes: data.byteLength, gpu: this.#upload(label, data) };
  }

  writeBatch(sequences: readonly SequenceStep[]): void {
    this.batch.write(this.device.queue, sequences);
  }

  /** Replays what was recorded (compiled at the first call), inputs and NaN scratch set afresh. */
  async run(): Promise<void> {
    this.#plan ??= await Plan.compile(this.recorder, this.pipelines, this.#arena);
    const plan = this.#plan;
    for (const scratch of this.recorder.scratches) {
      if (!scratch.isRetained || scratch.firstUse < 0) continue;
      const nan = new Uint32Array(scratch.sizeBytes / 4).fill(0x7fc00000);
      this.device.queue.writeBuffer(plan.bufferOf({ scratch } as GpuTensor), 0, nan);
    }
    for (const { tensor, data } of this.#inputs) this.device.queue.writeBuffer(plan.bufferOf(tensor), 0, data);
    const encoder = this.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    plan.encode(pass);
    pass.end();
    this.device.queue.submit([encoder.finish()]);
  }

  /** Milliseconds for one replay: the median of `runs`, `inner` replays to a submit. */
  async time(runs = 7, inner = 4): Promise<number> {
    await this.run();
    const times: number[] = [];
    for (let i = 0; i < runs + 1; i++) {
      await this.device.queue.onSubmittedWorkDone();
      const start = performance.now();
      const encoder = this.device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      for (let k = 0; k < inner; k++) this.#plan!.encode(pass);
      pass.end();
      this.device.queue.submit([encoder.finish()]);
      await this.device.queue.onSubmittedWorkDone();
      if (i > 0) times.push((performance.now() - start) / inner);
    }
    return times.sort((a, b) => a - b)[times.length >> 1];
  }

  /** Values of an output; a view's columns are gathered. */
  async read(tensor: GpuTensor): Promise<Float32Array<ArrayBuffer>> {
    const all = new Float32Array(await readBuffer(this.device, this.#plan!.bufferOf(tensor)));
    if (tensor.offset === 0 && tensor.stride === tensor.columns) return all.slice(0, tensor.rows * tensor.columns);
    const values = new Float32Array(tensor.rows * tensor.columns);
    for (let r = 0; r < tensor.rows; r++) {
      const from = tensor.offset + r * tensor.stride;
      values.set(all.subarray(from, from + tensor.columns), r * tensor.columns);
    }
    return values;
  }

  async readBuffer(buffer: GpuBuffer): Promise<ArrayBuffer> {
    return readBuffer(this.device, buffer.gpu!);
  }

  dispose(): void {
    this.#arena.dispose();
    for (const buffer of this.#owned) buffer.destroy();
  }

  #upload(label: string, data: ArrayBufferView<ArrayBuffer> | Uint8Array): GPUBuffer {
    const size = Math.max(16, Math.ceil(data.byteLength / 16) * 16);
    const buffer = this.#create(label, size);
    const padded = new Uint8Array(size);
    padded.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    this.device.queue.writeBuffer(buffer, 0, padded);
    return buffer;
  }

  #create(label: string, size: number): GPUBuffer {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const buffer = this.device.createBuffer({ label, size, usage });
    this.#owned.push(buffer);
    return buffer;
  }
}

const caches = new WeakMap<GPUDevice, PipelineCache>();
