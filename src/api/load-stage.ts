import type { ModelRunner } from "../runner/model-runner.ts";
import { type LayerRange, stageConfig, stageWeights } from "../stages/stage-weights.ts";
import { runnerOptions } from "./load-options.ts";
import { openModel } from "./open-model.ts";
import type { Platform } from "./platform.ts";
import { startGpu } from "./start-runner.ts";
import type { LoadOptions, ModelInfo, ModelSource } from "./types.ts";

export interface StageLoad {
  readonly options: LoadOptions;
  readonly range: LayerRange;
  readonly usableVocabulary: number;
  readonly onBytes: (loaded: number) => void;
}

/** Puts some of a model's layers on a device. */
export async function loadStage(
  platform: Platform,
  source: ModelSource,
  { options, range, usableVocabulary, onBytes }: StageLoad,
): Promise<{ readonly runner: ModelRunner; readonly adapter: ModelInfo["adapter"] }> {
  const { store = "auto" } = options;
  const { checkpoint, config, sources, loadWeight } = await openModel(platform, source, { ...options, store });
  try {
    const whole = runnerOptions(config, options, usableVocabulary);
    const maxRows = Math.max(whole.maxBatchTokens, whole.maxSequences ?? 1);
    return await startGpu({
      platform,
      sources: stageWeights(sources, range, maxRows),
      loadWeight,
      runnerOptions: { ...whole, config: stageConfig(config, range), isInner: range.to < config.layers.length },
      options: { ...options, maxBatchTokens: whole.maxBatchTokens },
      progress: { start: () => {}, report: (_, bytes) => bytes !== undefined && onBytes(bytes) },
    });
  } finally {
    await checkpoint.close();
  }
}
