import { DeviceLostError, invariant, OutOfMemoryError, UnsupportedDeviceError } from "../errors.ts";
import { PipelineCache } from "./pipelines.ts";
import { type DeviceProfile, isSoftware, profileOf } from "./profile.ts";
import { ScratchArena } from "./scratch.ts";

export interface DeviceRequest {
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
  /** Compute in f32 only, even where the device has f16. */
  readonly withoutF16?: boolean;
}

/** A GPU device and what belongs to it as a whole: pipelines, scratch memory, its loss. */
export class Device {
  readonly profile: DeviceProfile;
  readonly pipelines: PipelineCache;
  readonly arena: ScratchArena;
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
    gpu.lost.then(({ reason, message }) => {
      this.lost = new DeviceLostError(message || reason);
    });
    gpu.addEventListener("uncapturederror", ({ error }) => {
      this.#fault ??= error;
    });
  }

  /** Opens a device with every feature we use and the adapter's largest limits. */
  static async open({ gpu, adapter, withoutF16 }: DeviceRequest): Promise<Device> {
    const features = FEATURES.filter((f) => adapter.features.has(f));
    const requiredLimits = Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]]));
    const name = adapterName(adapter);
    try {
      const device = await adapter.requestDevice({ label: "sluice", requiredFeatures: features, requiredLimits });
      const profile = profileOf(device, gpu.wgslLanguageFeatures, { f16: withoutF16 });
      return new Device(device, name, isSoftware(adapter.info), profile);
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
    const { maxBufferBytes, maxBindingBytes } = this.profile;
    if (size > Math.min(maxBufferBytes, maxBindingBytes)) {
      const limit = Math.min(maxBufferBytes, maxBindingBytes);
      throw new UnsupportedDeviceError(
        this.name,
        `${label} takes ${megabytes(size)} in one buffer, and ${this.name} allows ${megabytes(limit)}. ` +
          "Try a smaller quantization (q4), a smaller maxContext, or another device.",
      );
    }
    const buffer = this.gpu.createBuffer({
      label,
      size,
      usage: usage || GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
    });
    this.#allocated.add(buffer);
    return buffer;
  }

  /** Runs `allocate` and fails with `OutOfMemoryError` if the device had no room for what it made. */
  async allocating<T>(what: string, bytes: number, allocate: () => Promise<T> | T): Promise<T> {
    this.gpu.pushErrorScope("out-of-memory");
    let scoped: GPUError | null = null;
    try {
      return await allocate();
    } finally {
      scoped = await this.gpu.popErrorScope().catch(() => null);
      if (scoped) {
        // biome-ignore lint/correctness/noUnsafeFinally: running out of memory explains whatever else went wrong
        throw new OutOfMemoryError(
          bytes,
          `${this.name} has no room for ${what} (${megabytes(bytes)}). Try quantization "q4", a smaller maxContext, or a smaller model.`,
        );
      }
    }
  }

  /** Fails if the device is gone. */
  check(): void {
    if (this.lost) throw this.lost;
    invariant(!this.#fault, this.#fault?.message ?? "");
  }

  dispose(): void {
    this.arena.dispose();
    for (const buffer of this.#allocated) buffer.destroy();
    this.#allocated.clear();
    this.gpu.destroy();
  }
}

const FEATURES = ["shader-f16", "subgroups", "timestamp-query"] as const;

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

export function adapterName({ info }: GPUAdapter): string {
  return info.description || info.device || [info.vendor, info.architecture].filter(Boolean).join(" ") || "this GPU";
}
