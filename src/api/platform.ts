import type { OpenSocket } from "../companion/link.ts";
import type { GrammarThread } from "../constraints/grammar-messages.ts";
import type { Runner } from "../engine/runner.ts";
import type { DeviceRequest } from "../gpu/device.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import type { ExpertHost } from "../paging/expert-host.ts";
import type { LayerHost } from "../runner/layer-host.ts";
import type { RunnerOptions } from "../runner/memory-plan.ts";
import type { FileSource } from "../weights/checkpoint.ts";
import type { WeightSource } from "../weights/format.ts";
import type { DeviceOptions, LoadOptions, MemoryPlan, ModelInfo, ModelSource, StoreReport } from "./types.ts";

/** What a model needs of the place it runs in. */
export interface Platform {
  /** @throws UnsupportedDeviceError where there is no adapter, or none of the name */
  openGpu(options: DeviceOptions): Promise<DeviceRequest>;
  /** Models from the network are kept on this device where `options.store` says so. */
  openFiles(source: ModelSource, options?: FileOptions): Promise<FileSource>;
  /** What opens WebSockets. */
  sockets(): Promise<OpenSocket>;
  /** Starts a thread that follows grammars, where there are such threads. */
  readonly startGrammars?: () => GrammarThread;
  /** The CPU definition, which is only loaded when asked for. */
  loadReference(weights: ModelWeights<WeightSource>, options: RunnerOptions & ReferenceOptions): Promise<LoadedRunner>;
  /** Where models are spread over several devices: which are for what comes after each other. */
  readonly stages?: StageStarter;
}

export interface StageStarter {
  /** What each stage's device has, where it is known. */
  readonly memoryBytes: readonly (number | undefined)[];
  /** Starts the stages, each of which reads its own layers. */
  start(source: ModelSource, request: StageRequest): Promise<{ runner: LoadedRunner; adapter: ModelInfo["adapter"] }>;
}

export interface StageRequest {
  readonly options: LoadOptions;
  /** The layers of each stage. */
  readonly ranges: readonly { readonly from: number; readonly to: number }[];
  readonly usableVocabulary: number;
  readonly onBytes: (loaded: number) => void;
  /** All weights are there. */
  readonly onCompile: () => void;
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
  /** Its layers, for others to run, where it holds them all. */
  readonly layers?: LayerHost;
}

export interface ReferenceOptions {
  readonly onBytes?: (loaded: number) => void;
  readonly signal?: AbortSignal;
}
