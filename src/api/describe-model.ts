import { CheckpointError } from "../errors.ts";
import type { ModelConfig } from "../models/qwen3-next/config.ts";
import { countParameters } from "../models/qwen3-next/weights.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { Lean } from "./lean.ts";
import { contextLength } from "./load-options.ts";
import { resolveSampling, type SamplingDefaults } from "./sampling.ts";
import type { Loading } from "./start-model.ts";
import type { StartedRunner } from "./start-runner.ts";
import type { ModelInfo } from "./types.ts";

/** A model that runs on this machine, or with layers elsewhere. */
export function describe(loading: Loading, { runner, options, adapter }: StartedRunner): ModelInfo {
  const { maxSequences, blocks, blockTokens } = runner.limits;
  return {
    ...describeFiles(loading),
    quantization: options.quantization,
    maxContext: options.maxContext,
    maxSequences,
    cacheTokens: blocks * blockTokens,
    maxBatchTokens: options.maxBatchTokens,
    adapter,
    memory: runner.memory,
  };
}

/** A model that runs elsewhere as a whole. */
export function describeElsewhere(loading: Loading, { info, link }: Lean): ModelInfo {
  const { options, opened } = loading;
  const { maxContext: most, maxOpen } = link.welcome;
  const maxContext = Math.min(contextLength(options.maxContext ?? most, opened.config), most);
  return {
    ...describeFiles(loading),
    quantization: "auto",
    maxContext,
    maxSequences: maxOpen,
    cacheTokens: 0,
    maxBatchTokens: maxContext,
    adapter: { name: `companion ${info.url}`, isSoftware: false, dtype: "f32", subgroups: false },
    memory: { weights: 0, kvCache: 0, recurrentState: 0, snapshots: 0, scratch: 0, other: 0, total: 0 },
    companion: info,
  };
}

function describeFiles({ opened: { checkpoint, config, sources }, sampling }: Loading) {
  const attention = config.layers.filter(({ mixer }) => mixer === "attention").length;
  return {
    label: checkpoint.label,
    modelType: config.modelType,
    parameters: countParameters(sources).total,
    layers: { attention, delta: config.layers.length - attention },
    vocabulary: config.vocabularySize,
    sampling,
  };
}

/** How tokens are drawn where a request does not say. @throws CheckpointError for what cannot be used */
export function defaultSampling(
  { label }: Checkpoint,
  defaults: SamplingDefaults,
  { vocabularySize }: ModelConfig,
): ModelInfo["sampling"] {
  try {
    const sampling = resolveSampling({}, defaults, vocabularySize);
    const { temperature, topK, topP, minP, presencePenalty, frequencyPenalty, repetitionPenalty } = sampling;
    return { temperature, topK, topP, minP, presencePenalty, frequencyPenalty, repetitionPenalty };
  } catch (cause) {
    const message = `generation_config.json cannot be used: ${(cause as Error).message}`;
    throw new CheckpointError(label, message, { cause });
  }
}
