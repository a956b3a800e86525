import type { RemoteExperts } from "../companion/remote-experts.ts";
import { InvalidRequestError } from "../errors.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import { slotsWithin } from "../runner/expert-budget.ts";
import type { RunnerOptions } from "../runner/memory-plan.ts";
import { ModelRunner } from "../runner/model-runner.ts";
import { pagedSources } from "../runner/paged-experts.ts";
import { fetchKernels } from "../runner/record-step.ts";
import { stageRanges } from "../stages/stage-ranges.ts";
import type { WeightSource } from "../weights/format.ts";
import { onDevice } from "./load-options.ts";
import type { LoadProgress } from "./load-progress.ts";
import { openDevice } from "./open-device.ts";
import type { OpenedModel } from "./open-model.ts";
import type { LoadedRunner, Platform } from "./platform.ts";
import { storedBytes } from "./stored-bytes.ts";
import type { LoadOptions, ModelInfo, ModelSource } from "./types.ts";

export interface RunnerRequest {
  readonly platform: Platform;
  readonly sources: ModelWeights<WeightSource>;
  readonly loadWeight?: OpenedModel["loadWeight"];
  readonly runnerOptions: Omit<RunnerOptions, "kvFormat">;
  readonly options: LoadOptions;
  readonly progress: Pick<LoadProgress, "start" | "report">;
  /** Where experts are read as long as the runner lives: called when that ends. */
  readonly onDispose?: () => void;
  readonly companion?: RemoteExperts;
}

export interface StartedRunner<R extends LoadedRunner = LoadedRunner> {
  readonly runner: R;
  readonly options: RunnerOptions;
  readonly adapter: ModelInfo["adapter"];
}

/** Loads a model on this machine: on a GPU, on several, or in plain loops. */
export async function startRunner(source: ModelSource, request: RunnerRequest): Promise<StartedRunner> {
  const { platform, sources, options, progress } = request;
  progress.start(storedBytes(sources));
  if (options.device?.reference) return startReference(request);
  return platform.stages ? startStages(source, request) : startGpu(request);
}

export async function startGpu(request: RunnerRequest): Promise<StartedRunner<ModelRunner>> {
  const { platform, sources, loadWeight, runnerOptions, options, progress, onDispose, companion } = request;
  const { device, adapter } = await openDevice(platform, options.device);
  try {
    const { profile } = device;
    const { maxBatchTokens, memory, compile, signal } = options;
    const own = onDevice(runnerOptions, profile, { dtype: options.device?.dtype, maxBatchTokens });
    await fetchKernels(profile, own);
    const standard = { ...own, sharesExperts: companion !== undefined };
    const expertSlots = companion && memory === undefined ? 0 : slotsWithin(memory, sources, profile, standard);
    if (expertSlots !== undefined) progress.start(storedBytes(sources, pagedSources(sources)));
    const withCache = { ...standard, expertSlots };
    const runner = await ModelRunner.load(sources, {
      ...withCache,
      loadWeight,
      onDispose,
      companion,
      device,
      compile,
      onBytes: (bytes) => progress.report("weights", bytes),
      onCompile: () => progress.report("compile"),
      signal,
    });
    return { runner, options: withCache, adapter };
  } catch (error) {
    device.dispose();
    throw error;
  }
}

/** Layers in other processes, which read the model themselves. */
async function startStages(source: ModelSource, request: RunnerRequest): Promise<StartedRunner> {
  const { platform, sources, runnerOptions, options, progress } = request;
  const stages = platform.stages!;
  if (options.memory !== undefined) {
    throw new InvalidRequestError(
      "memory",
      "what does not fit is read when needed on one device only; use more stages.",
    );
  }
  const { runner, adapter } = await stages.start(source, {
    options,
    ranges: stageRanges(sources, runnerOptions, stages.memoryBytes),
    usableVocabulary: runnerOptions.usableVocabulary,
    onBytes: (bytes) => progress.report("weights", bytes),
    onCompile: () => progress.report("compile"),
  });
  return { runner, options: { ...runnerOptions, kvFormat: adapter.dtype }, adapter };
}

/** Between two steps a request can be stopped, and here they take long. */
const REFERENCE_BATCH_TOKENS = 16;

async function startReference(request: RunnerRequest): Promise<StartedRunner> {
  const { platform, sources, runnerOptions, options, progress } = request;
  const own = { ...runnerOptions, kvFormat: "f32", maxBatchTokens: REFERENCE_BATCH_TOKENS } as const;
  const runner = await platform.loadReference(sources, {
    ...own,
    onBytes: (bytes) => progress.report("weights", bytes),
    signal: options.signal,
  });
  const adapter = { name: "CPU reference", isSoftware: true, dtype: "f32", subgroups: false } as const;
  return { runner, options: own, adapter };
}
