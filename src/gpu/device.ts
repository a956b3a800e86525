import { pause } from "../common/waiting.ts";
import { DeviceLostError, invariant, OutOfMemoryError, UnsupportedDeviceError } from "../errors.ts";
import { compilesMatrices } from "./matrix-trial.ts";
import { PipelineCache } from "./pipelines.ts";
import { adapterName, type DeviceProfile, isSoftware, MATRICES, profileOf } from "./profile.ts";
import { ScratchArena } from "./scratch.ts";
import { Uploads } from "./uploads.ts";

export interface DeviceRequest {
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
  /** Compute in f32 only, even where the device has f16. */
  readonly withoutF16?: boolean;
  /** Round no activations to go faster; the KV cache may still be in f16. Implied by `withoutF16`. */
  readonly precise?: boolean;
  /** Use no subgroups, even where the device has them. */
  readonly withoutSubgroups?: boolean;
}

/** What makes buffers, and writes them. */
export type Allocator = Pick<Device, "buffer" | "queue">;

/** A GPU device and what belongs to it as a whole: pipelines, scratch memory, uploads, its loss. */
export class Device {
  readonly profile: DeviceProfile;
  readonly pipelines: PipelineCache;
  readonly arena: ScratchArena;
  readonly uploads: Uploads;
  /** Set once the device is gone; everything after fails with it. */
  lost: DeviceLostError | undefined;
  /** An error of our own use of the device; after it results cannot be trusted. */
  #fault: GPUError | undefined;
  readonly #allocated = new Set<GPUBuffer>();

  private constructor(
    readonly gpu: GPUDevice,
    /** What a person would call the adapter. */
    readonly name: string,
    readonly isSoftware: boolean,
    profile: DeviceProfile,
  ) {
    this.profile = profile;
    this.pipelines = new PipelineCache(gpu);
    this.arena = new ScratchArena(gpu);
    this.uploads = new Uploads(gpu);
    gpu.lost.then(({ reason, message }) => {
      this.lost = new DeviceLostError(message || reason);
    });
    gpu.addEventListener("uncapturederror", ({ error }) => {
      this.#fault ??= error;
    });
  }

  /** Opens a device with every feature we use and the adapter's largest limits. */
  static async open({ gpu, adapter, withoutF16, precise, withoutSubgroups }: DeviceRequest): Promise<Device> {
    const features = FEATURES.filter((f) => adapter.features.has(f));
    const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
    const name = adapterName(adapter.info);
    try {
      const device = await adapter.requestDevice({ label: "sluice", requiredFeatures: features, requiredLimits });
      const profile = profileOf(device, adapter.info, gpu.wgslLanguageFeatures, {
        f16: withoutF16,
        roundActivations: precise || withoutF16,
        // Its products round activations to 16 bits.
        fuseDecode: precise || withoutF16,
        subgroups: withoutSubgroups,
      });
      const matrix = profile.matrix && (await compilesMatrices(device, profile.matrix)) ? profile.matrix : undefined;
      return new Device(device, name, isSoftware(adapter.info), { ...profile, matrix });
    } catch (cause) {
      throw new UnsupportedDeviceError(name, `${name} gave no device: ${(cause as Error).message}`, { cause });
    }
  }

  get queue(): GPUQueue {
    return this.gpu.queue;
  }

  /** Bytes of all buffers made here, scratch included. */
  get allocatedBytes(): number {
    return this.arena.sizeBytes + [...this.#allocated].reduce((sum, b) => sum + b.size, 0);
  }

  /** A storage buffer of at least `sizeBytes`, zeroed. */
  buffer(label: string, sizeBytes: number, usage = 0): GPUBuffer {
    const size = Math.max(16, Math.ceil(sizeBytes / 16) * 16);
    this.checkFits(label, size);
    const buffer = this.gpu.createBuffer({
      label,
      size,
      usage: usage || GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
    });
    this.#allocated.add(buffer);
    return buffer;
  }

  /** Gives buffers back before the device ends. */
  free(buffers: readonly GPUBuffer[]): void {
    for (const buffer of buffers) {
      buffer.destroy();
      this.#allocated.delete(buffer);
    }
  }

  /** @throws OutOfMemoryError where the device allows no buffer of that size, however much is free */
  checkFits(label: string, sizeBytes: number): void {
    const limit = Math.min(this.profile.maxBufferBytes, this.profile.maxBindingBytes);
    if (sizeBytes <= limit) return;
    throw new OutOfMemoryError(
      sizeBytes,
      `${label} takes ${megabytes(sizeBytes)} in one buffer, and ${this.name} allows ${megabytes(limit)}. ${LESS}`,
    );
  }

  /** Fails with `OutOfMemoryError` if the device has no room for the buffers that `allocate` makes, `bytes` in all. */
  async allocating<T>(what: string, bytes: number, allocate: () => T): Promise<T> {
    let made: T;
    let failure: Promise<GPUError | null>;
    this.gpu.pushErrorScope("out-of-memory");
    try {
      made = allocate();
    } finally {
      // A lost device cannot say; whoever uses the buffers notices.
      failure = this.gpu.popErrorScope().catch(() => null);
    }
    if (await failure) throw this.#outOfMemory(bytes, `${what} (${megabytes(bytes)})`);
    return made;
  }

  /** @throws DeviceLostError if the device is gone, OutOfMemoryError if a buffer that nobody waited for had no room */
  check(): void {
    if (this.lost) throw this.lost;
    if (this.#fault instanceof GPUOutOfMemoryError) throw this.#outOfMemory(0, "what a step needs");
    invariant(!this.#fault, this.#fault?.message ?? "");
  }

  /** Waits for `work`. What fails because the device is gone fails with `DeviceLostError`. */
  async settled<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (error) {
      // The loss is told a little after what it breaks.
      await pause(0);
      this.check();
      throw error;
    }
  }

  dispose(): void {
    this.arena.dispose();
    this.uploads.dispose();
    for (const buffer of this.#allocated) buffer.destroy();
    this.#allocated.clear();
    this.gpu.destroy();
  }

  #outOfMemory(bytes: number, what: string): OutOfMemoryError {
    const held = `${megabytes(this.allocatedBytes)} are taken already`;
    return new OutOfMemoryError(bytes, `${this.name} has no room for ${what}; ${held}. ${LESS}`);
  }
}

/** What a caller can do about too little memory. */
const LESS = 'Try quantization "q4", a smaller maxContext, a smaller model, or another device.';

const FEATURES: readonly GPUFeatureName[] = ["shader-f16", "subgroups", "timestamp-query", MATRICES];

const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupsPerDimension",
] as const;

export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
