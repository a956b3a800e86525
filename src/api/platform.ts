import type { OpenSocket } from "../companion/link.ts";
import type { Runner } from "../engine/runner.ts";
import type { DeviceRequest } from "../gpu/device.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import type { ExpertHost } from "../paging/expert-host.ts";
import type { RunnerOptions } from "../runner/memory-plan.ts";
import type { FileSource } from "../weights/checkpoint.ts";
import type { WeightSource } from "../weights/format.ts";
import type { DeviceOptions, LoadOptions, MemoryPlan, ModelSource, StoreReport } from "./types.ts";

/** What a model needs of the place it runs in. */
export interface Platform {
  /** @throws UnsupportedDeviceError where there is no adapter, or none of the name */
  openGpu(options: DeviceOptions): Promise<DeviceRequest>;
  /** Models from the network are kept on this device where `options.store` says so. */
  openFiles(source: ModelSource, options?: FileOptions): Promise<FileSource>;
  /** What opens WebSockets. */
  sockets(): Promise<OpenSocket>;
  /** The CPU definition, which is only loaded when asked for. */
  loadReference(weights: ModelWeights<WeightSource>, options: RunnerOptions & ReferenceOptions): Promise<LoadedRunner>;
}

export interface FileOptions {
  readonly store?: LoadOptions["store"];
  readonly hubToken?: LoadOptions["hubToken"];
  readonly onReport?: (report: StoreReport) => void;
}

export interface LoadedRunner extends Runner {
  readonly memory: MemoryPlan;
  /** Its experts, for others to compute with, where it holds them all. */
  readonly experts?: ExpertHost;
}

export interface ReferenceOptions {
  readonly onBytes?: (loaded: number) => void;
  readonly signal?: AbortSignal;
}
