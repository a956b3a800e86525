import type { Quantization } from "../../src/api/types.ts";
import { Device } from "../../src/gpu/device.ts";
import { bindWeights } from "../../src/models/qwen3-next/bind-weights.ts";
import { type ModelConfig, parseConfig } from "../../src/models/qwen3-next/config.ts";
import type { ModelWeights } from "../../src/models/qwen3-next/weights.ts";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import { ModelRunner } from "../../src/runner/model-runner.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import type { WeightSource } from "../../src/weights/format.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import { ObservedPlatform } from "./observed-platform.ts";

export interface GpuModelOptions {
  readonly quantization?: Quantization;
  /** f32 without f16 features, or f16 cache and tiles. Default f32. */
  readonly dtype?: "f32" | "f16";
  readonly maxContext?: number;
  readonly maxBatchTokens?: number;
  readonly snapshots?: number;
  readonly maxSequences?: number;
  readonly cacheTokens?: number;
  readonly withoutSubgroups?: boolean;
  /** Experts of a layer that the device holds at a time. */
  readonly expertSlots?: number;
  /** Decode with fused kernels, or without; by default as the device does. */
  readonly fused?: boolean;
  /** Read prompts by products of matrices, as a GPU that has them does. */
  readonly matrices?: boolean;
  readonly compile?: "all";
  /** Sees the device. */
  readonly platform?: ObservedPlatform;
}

/** A checkpoint's folder on the adapter under test. */
export async function openGpuModel(folder: string, options: GpuModelOptions = {}): Promise<ModelRunner> {
  const checkpoint = await openCheckpoint(await FolderSource.open(folder));
  try {
    return await loadGpuModel(checkpoint, options);
  } finally {
    if (options.expertSlots === undefined) await checkpoint.close();
  }
}

export async function loadGpuModel(checkpoint: Checkpoint, options: GpuModelOptions = {}): Promise<ModelRunner> {
  const config = parseConfig(checkpoint.config);
  return loadGpuSources(bindWeights(config, checkpoint), config, options, () => void checkpoint.close());
}

/** Weights from anywhere. `close` is called where they are read as long as the runner lives. */
export async function loadGpuSources(
  sources: ModelWeights<WeightSource>,
  config: ModelConfig,
  options: GpuModelOptions = {},
  close = () => {},
): Promise<ModelRunner> {
  const dtype = options.dtype ?? "f32";
  const { platform = new ObservedPlatform(), withoutSubgroups } = options;
  const device = await Device.open({ ...(await platform.openGpu({})), withoutF16: dtype === "f32", withoutSubgroups });
  Object.assign(device.profile, options.fused !== undefined && { fuseDecode: options.fused });
  Object.assign(device.profile, options.matrices && { serialWorkgroups: false });
  try {
    return await ModelRunner.load(sources, {
      device,
      config,
      quantization: options.quantization ?? "auto",
      kvFormat: dtype,
      maxContext: options.maxContext ?? 1024,
      maxBatchTokens: options.maxBatchTokens ?? 256,
      snapshots: options.snapshots ?? 1,
      maxSequences: options.maxSequences,
      compile: options.compile,
      cacheTokens: options.cacheTokens,
      usableVocabulary: config.vocabularySize,
      expertSlots: options.expertSlots,
      onDispose: options.expertSlots === undefined ? undefined : close,
    });
  } catch (error) {
    device.dispose();
    throw error;
  }
}
