import { readFile } from "node:fs/promises";
import { onDevice, runnerOptions } from "../api/load-options.ts";
import type { Quantization } from "../api/types.ts";
import { InvalidRequestError } from "../errors.ts";
import { Device } from "../gpu/device.ts";
import { bindWeights } from "../models/qwen3-next/bind-weights.ts";
import { type ModelConfig, parseConfig } from "../models/qwen3-next/config.ts";
import { SHAPES } from "../models/qwen3-next/shapes.ts";
import { syntheticModel } from "../models/qwen3-next/synthetic.ts";
import { convertWeights, type ModelWeights } from "../models/qwen3-next/weights.ts";
import { openGpu } from "../platform/node/gpu.ts";
import { nodePlatform } from "../platform/node/platform.ts";
import { ReferenceRunner } from "../reference/reference-runner.ts";
import { slotsWithin } from "../runner/expert-budget.ts";
import { ModelRunner } from "../runner/model-runner.ts";
import { fetchKernels } from "../runner/record-step.ts";
import { synthesizeWeight } from "../runner/synthesize.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { WeightSource } from "../weights/format.ts";
import { madeUpSource } from "../weights/made-up.ts";
import { openCheckpoint } from "../weights/open-checkpoint.ts";
import { deviceFormat } from "../weights/plan-format.ts";
import type { ModelOptions } from "./options.ts";

export interface OpenedModel {
  readonly checkpoint: Checkpoint;
  readonly config: ModelConfig;
  readonly sources: ModelWeights<WeightSource>;
  /** Set where there are no weights to read, and they are made up. */
  readonly isSynthetic?: boolean;
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

/** A model of a published shape, by name or by the path of a config.json, whose weights are made up on the device. */
export async function openShape(shape: string): Promise<OpenedModel> {
  const known = SHAPES[shape.toLowerCase()];
  if (known) return { ...syntheticModel(known, shape), isSynthetic: true };
  const text = await readFile(shape, "utf8").catch(() => {
    throw new InvalidRequestError(
      "--shape",
      `${shape} is neither a config.json nor one of ${Object.keys(SHAPES).join(", ")}.`,
    );
  });
  return { ...syntheticModel(JSON.parse(text), shape), isSynthetic: true };
}

/** The same model with weights that can be read. */
export function madeUp({ sources, ...model }: OpenedModel, quantization: Quantization): OpenedModel {
  const made = convertWeights(sources, (source) => madeUpSource(source, deviceFormat(source, quantization)));
  return { ...model, sources: made, isSynthetic: false };
}

export interface OpenRunnerOptions extends ModelOptions {
  /** Tokens of one prefill step. */
  readonly batchTokens?: number;
  readonly maxSequences?: number;
  readonly cacheTokens?: number;
}

export type OpenedRunner =
  | { readonly runner: ModelRunner; readonly device: Device; readonly weightsMs: number }
  | { readonly runner: ReferenceRunner; readonly device?: undefined; readonly weightsMs?: undefined };

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
  { config, sources, isSynthetic }: OpenedModel,
  {
    adapter,
    dtype,
    precise,
    quantization,
    context,
    memory,
    reference,
    fast,
    batchTokens,
    maxSequences,
    cacheTokens,
  }: OpenRunnerOptions,
): Promise<OpenedRunner> {
  const standard = runnerOptions(config, { quantization, maxContext: context });
  const options = { ...standard, maxSequences, cacheTokens, maxBatchTokens: batchTokens ?? standard.maxBatchTokens };
  if (reference) return { runner: await ReferenceRunner.load(sources, options) };
  const device = await Device.open({ ...(await openGpu({ adapter, fast })), withoutF16: dtype === "f32", precise });
  try {
    const standard = onDevice(options, device.profile, { dtype, maxBatchTokens: batchTokens });
    await fetchKernels(device.profile, standard);
    const start = performance.now();
    let weightsMs = 0;
    const runner = await ModelRunner.load(sources, {
      ...standard,
      expertSlots: slotsWithin(memory, sources, device.profile, standard),
      device,
      ...(isSynthetic && { loadWeight: synthesizeWeight }),
      onCompile: () => {
        weightsMs = performance.now() - start;
      },
    });
    return { runner, device, weightsMs };
  } catch (error) {
    device.dispose();
    throw error;
  }
}
