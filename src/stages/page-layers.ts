import { scoreTokens } from "../engine/runner.ts";
import { InvalidRequestError, OutOfMemoryError } from "../errors.ts";
import type { DeviceProfile } from "../gpu/profile.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import { parseBudget, slotsWithin } from "../runner/expert-budget.ts";
import { memoryPlan, type RunnerOptions, runnerLimits } from "../runner/memory-plan.ts";
import type { WeightSource } from "../weights/format.ts";
import { stageConfig, stageWeights } from "./stage-weights.ts";

/** What one of a page's stages loads. */
export interface PageStage {
  readonly sources: ModelWeights<WeightSource>;
  readonly options: RunnerOptions;
}

/** How many layers a page runs itself, and how many experts it holds of each of them, if not all. */
export interface LayerChoice {
  readonly here: number;
  readonly expertSlots?: number;
}

/** A page's stages, the first `here` layers and the drawing of tokens; what is between is elsewhere. */
export function pageStages(
  sources: ModelWeights<WeightSource>,
  options: RunnerOptions,
  here: number,
): readonly [PageStage, PageStage] {
  const all = sources.layers.length;
  const limits = runnerLimits(options);
  const stage = (from: number, to: number, maxBatchTokens: number): PageStage => ({
    sources: stageWeights(sources, { from, to }, Math.max(maxBatchTokens, limits.maxSequences)),
    options: {
      ...options,
      maxBatchTokens,
      config: stageConfig(options.config, { from, to }),
      isInner: to < all,
    },
  });
  // To draw, one row of each sequence is enough, but all are wanted where logits are.
  const drawn = Math.max(scoreTokens(limits), limits.maxPrefillSequences);
  return [stage(0, here, limits.maxBatchTokens), stage(all, all, drawn)];
}

/**
 * How many experts of each of its layers a page holds, where it says how many layers these are; undefined if all have room.
 *
 * @throws OutOfMemoryError, InvalidRequestError
 */
export function expertsWithin(
  memory: string | number | undefined,
  [first, last]: ReturnType<typeof pageStages>,
  profile: DeviceProfile,
): number | undefined {
  if (memory === undefined) return undefined;
  const budget = parseBudget(memory);
  if ("share" in budget) return slotsWithin(memory, first.sources, profile, first.options);
  const left = budget.bytes - memoryPlan(last.sources, profile, last.options).total;
  return slotsWithin(Math.max(1, left), first.sources, profile, first.options);
}

/**
 * How many layers a page runs itself: as many as its memory allows, but for the last, or a share of all. One at least: rows of
 * the embedding alone would tell which tokens they are of.
 *
 * @throws OutOfMemoryError, InvalidRequestError
 */
export function layersWithin(
  memory: string | number | undefined,
  sources: ModelWeights<WeightSource>,
  profile: DeviceProfile,
  options: RunnerOptions,
): number {
  const most = sources.layers.length - 1;
  if (most < 1)
    throw new InvalidRequestError("companion.mode", "a model of one layer has none to leave to a companion.");
  if (memory === undefined) return 1;
  const budget = parseBudget(memory);
  if ("share" in budget) return Math.min(most, Math.max(1, Math.round(budget.share * (most + 1))));
  const total = (here: number) =>
    pageStages(sources, options, here).reduce(
      (sum, stage) => sum + memoryPlan(stage.sources, profile, stage.options).total,
      0,
    );
  const least = total(1);
  if (least > budget.bytes) {
    throw new OutOfMemoryError(
      least,
      `One layer and what draws take ${Math.ceil(least / 1e6)} MB, of ${Math.floor(budget.bytes / 1e6)} MB allowed. ` +
        'Allow more memory, or leave whole requests to the companion: mode "requests".',
    );
  }
  let [fits, tooMany] = [1, most + 1];
  while (tooMany - fits > 1) {
    const half = (fits + tooMany) >> 1;
    if (total(half) <= budget.bytes) fits = half;
    else tooMany = half;
  }
  return fits;
}

/** What a page could run within its memory: the layers that fit whole, or more of them whose experts come and go. */
export function layerChoices(
  memory: string | number | undefined,
  sources: ModelWeights<WeightSource>,
  profile: DeviceProfile,
  options: RunnerOptions,
): LayerChoice[] {
  const most = sources.layers.length - 1;
  const whole = unlessTooMuch(() => layersWithin(memory, sources, profile, options)) ?? 0;
  const choices: LayerChoice[] = whole > 0 ? [{ here: whole }] : [];
  if (memory === undefined) return choices;
  for (const here of new Set([Math.max(1, (whole + most) >> 1), most])) {
    if (here <= whole) continue;
    const expertSlots = unlessTooMuch(() => slotsOf(here, memory, sources, profile, options));
    if (expertSlots !== undefined) choices.push({ here, expertSlots });
  }
  return choices;
}

/** A share of the experts of all layers is a larger one of those of some. */
function slotsOf(
  here: number,
  memory: string | number,
  sources: ModelWeights<WeightSource>,
  profile: DeviceProfile,
  options: RunnerOptions,
): number | undefined {
  const budget = parseBudget(memory);
  const own = "share" in budget ? `${(100 * budget.share * sources.layers.length) / here}%` : memory;
  return expertsWithin(own, pageStages(sources, options, here), profile);
}

/** Undefined where there is no room for it, or nothing to leave. */
export function unlessTooMuch<T>(ask: () => T): T | undefined {
  try {
    return ask();
  } catch (error) {
    if (error instanceof OutOfMemoryError || error instanceof InvalidRequestError) return undefined;
    throw error;
  }
}
