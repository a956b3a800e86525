import { InvalidRequestError } from "../errors.ts";
import type { DeviceProfile } from "../gpu/profile.ts";
import type { ModelConfig } from "../models/qwen3-next/config.ts";
import { parseBudget } from "../runner/expert-budget.ts";
import type { RunnerOptions } from "../runner/memory-plan.ts";
import { checkCompanion } from "./companion-options.ts";
import type { LoadOptions } from "./types.ts";

/** Tokens of context where nothing else is asked for: room for a long chat, and small beside the weights. */
const DEFAULT_CONTEXT = 4096;

/**
 * Tokens of one prefill step. Larger steps read each expert less often; scratch grows with them. Where subgroups multiply
 * matrices, the arithmetic takes so little time that reading shows.
 */
const BATCH_TOKENS = 512;
const MATRIX_BATCH_TOKENS = 4096;

/** Message boundaries whose recurrent state is kept. */
const SNAPSHOTS = 4;

/** Fails with `InvalidRequestError` for what no model can be loaded with. */
export function checkOptions({
  companion,
  memory,
  cacheHostBytes,
  loadFormat = "auto",
  quantization = "auto",
  store = "auto",
  device: { dtype = "auto" } = {},
}: LoadOptions): void {
  const oneOf = (field: string, value: string, choices: readonly string[]) => {
    if (!choices.includes(value)) throw new InvalidRequestError(field, `${value} is none of ${choices.join(", ")}.`);
  };
  oneOf("loadFormat", loadFormat, ["auto", "dummy"]);
  oneOf("quantization", quantization, ["auto", "f32", "f16", "bf16", "q8", "q4a", "q4"]);
  oneOf("device.dtype", dtype, ["auto", "f32", "f16"]);
  if (memory !== undefined) parseBudget(memory);
  if (companion !== undefined) checkCompanion(companion);
  if (cacheHostBytes !== undefined && !(Number.isFinite(cacheHostBytes) && cacheHostBytes >= 0)) {
    throw new InvalidRequestError("cacheHostBytes", `${cacheHostBytes} is no number of bytes.`);
  }
  oneOf("store", store, ["auto", "none", "indexeddb", "opfs", "files", "memory"]);
}

/** How a runner is set up for a model; the format of its KV cache is for the device to say. */
export function runnerOptions(
  config: ModelConfig,
  {
    quantization = "auto",
    maxContext,
    maxSequences,
    maxBatchTokens,
    cacheTokens,
  }: Pick<LoadOptions, "quantization" | "maxContext" | "maxSequences" | "maxBatchTokens" | "cacheTokens">,
  usableVocabulary = config.vocabularySize,
): Omit<RunnerOptions, "kvFormat"> {
  return {
    config,
    quantization,
    maxContext: contextLength(maxContext, config),
    maxBatchTokens: atLeastOne("maxBatchTokens", maxBatchTokens) ?? BATCH_TOKENS,
    maxSequences: atLeastOne("maxSequences", maxSequences),
    cacheTokens: atLeastOne("cacheTokens", cacheTokens),
    snapshots: Math.max(SNAPSHOTS, maxSequences ?? 1),
    usableVocabulary: Math.min(usableVocabulary, config.vocabularySize),
  };
}

/** What `runnerOptions` leaves to the device, where the user does. */
export function onDevice<O extends Omit<RunnerOptions, "kvFormat">>(
  options: O,
  { matrix, serialWorkgroups, f16 }: DeviceProfile,
  { dtype = "auto", maxBatchTokens }: { dtype?: "auto" | "f16" | "f32"; maxBatchTokens?: number },
): O & Pick<RunnerOptions, "kvFormat"> {
  const largest = matrix && !serialWorkgroups ? Math.min(MATRIX_BATCH_TOKENS, options.maxContext) : BATCH_TOKENS;
  return {
    ...options,
    kvFormat: dtype === "f16" || (dtype === "auto" && f16) ? "f16" : "f32",
    maxBatchTokens: maxBatchTokens ?? largest,
  };
}

function atLeastOne(field: string, count: number | undefined): number | undefined {
  if (count === undefined || (Number.isSafeInteger(count) && count >= 1)) return count;
  throw new InvalidRequestError(field, `${count} is not a whole number of at least 1.`);
}

/** Tokens of context, as they are asked for where the model has as many. */
export function contextLength(asked: number | undefined, { maxPositions }: ModelConfig): number {
  if (asked === undefined) return Math.min(maxPositions, DEFAULT_CONTEXT);
  if (Number.isSafeInteger(asked) && asked >= 2 && asked <= maxPositions) return asked;
  throw new InvalidRequestError(
    "maxContext",
    `${asked} is not a whole number from 2 to ${maxPositions}, the model's own limit. YaRN, in configOverrides, stretches it.`,
  );
}
