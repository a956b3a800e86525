import { runnerOptions } from "../api/load-model.ts";
import type { Quantization } from "../api/types.ts";
import { Device } from "../gpu/device.ts";
import { bindWeights } from "../models/qwen3-next/bind-weights.ts";
import { type ModelConfig, parseConfig } from "../models/qwen3-next/config.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import { nodePlatform } from "../platform/node/platform.ts";
import { ReferenceRunner } from "../reference/reference-runner.ts";
import { ModelRunner } from "../runner/model-runner.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { WeightSource } from "../weights/format.ts";
import { openCheckpoint } from "../weights/open-checkpoint.ts";

export interface OpenedModel {
  readonly checkpoint: Checkpoint;
  readonly config: ModelConfig;
  readonly sources: ModelWeights<WeightSource>;
}

/** Calls `use` with a model whose headers are read and whose weights can be, and closes its files. */
export async function withModel<T>(source: string, use: (model: OpenedModel) => Promise<T>): Promise<T> {
  const checkpoint = await openCheckpoint(await nodePlatform.openFiles(source));
  try {
    const config = parseConfig(checkpoint.config);
    return await use({ checkpoint, config, sources: bindWeights(config, checkpoint) });
  } finally {
    await checkpoint.close();
  }
}

export interface OpenRunnerOptions {
  readonly adapter?: string;
  readonly dtype: "auto" | "f32" | "f16";
  readonly quantization: Quantization;
  readonly context?: number;
  readonly reference?: boolean;
}

export type OpenedRunner =
  | { readonly runner: ModelRunner; readonly device: Device }
  | { readonly runner: ReferenceRunner; readonly device?: undefined };

/** Calls `use` with a model's runner, and the device that it is on (none for the reference), and frees them. */
export async function withRunner<T>(
  model: OpenedModel,
  options: OpenRunnerOptions,
  use: (opened: OpenedRunner) => Promise<T>,
): Promise<T> {
  const opened = await openRunner(model, options);
  try {
    return await use(opened);
  } finally {
    opened.runner.dispose();
  }
}

async function openRunner(
  { config, sources }: OpenedModel,
  { adapter, dtype, quantization, context, reference }: OpenRunnerOptions,
): Promise<OpenedRunner> {
  const options = runnerOptions(config, { quantization, maxContext: context });
  if (reference) return { runner: await ReferenceRunner.load(sources, options) };
  const device = await Device.open({ ...(await nodePlatform.openGpu({ adapter })), withoutF16: dtype === "f32" });
  try {
    const kvFormat = dtype === "auto" ? (device.profile.f16 ? "f16" : "f32") : dtype;
    return { runner: await ModelRunner.load(sources, { ...options, kvFormat, device }), device };
  } catch (error) {
    device.dispose();
    throw error;
  }
}
