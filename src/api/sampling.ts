import { MAX_STOP_IDS, type ResolvedSampling } from "../engine/runner.ts";
import { InvalidRequestError } from "../errors.ts";
import type { GenerateParams, SamplingParams } from "./types.ts";

/** What a model brings of its own to the drawing of tokens. */
export interface SamplingDefaults {
  readonly params: SamplingParams;
  /** Ids that end a reply. */
  readonly stopIds: readonly number[];
}

/** Reads generation_config.json: sampling parameters, and ids that end a reply (with those of config.json). */
export function samplingDefaults(
  generationConfig: Readonly<Record<string, unknown>>,
  config: Readonly<Record<string, unknown>>,
  endOfTurn: readonly (number | undefined)[],
): SamplingDefaults {
  const number = (name: string) => {
    const value = generationConfig[name];
    return typeof value === "number" ? value : undefined;
  };
  const text = (config.text_config ?? {}) as Record<string, unknown>;
  const ids = [generationConfig.eos_token_id, config.eos_token_id, text.eos_token_id, ...endOfTurn].flat();
  return {
    params: {
      temperature: generationConfig.do_sample === false ? 0 : number("temperature"),
      topP: number("top_p"),
      topK: number("top_k"),
      minP: number("min_p"),
      presencePenalty: number("presence_penalty"),
      repetitionPenalty: number("repetition_penalty"),
    },
    stopIds: [...new Set(ids.filter((id): id is number => typeof id === "number"))],
  };
}

/**
 * Fills in what a request leaves open: from the model, then from the defaults of `SamplingParams`.
 *
 * @throws InvalidRequestError for a value out of its range
 */
export function resolveSampling(
  params: GenerateParams,
  defaults: SamplingDefaults,
  vocabulary: number,
): ResolvedSampling {
  const pick = <K extends keyof SamplingParams>(name: K) => params[name] ?? defaults.params[name];
  const stopIds = [...new Set([...(params.ignoreEos ? [] : defaults.stopIds), ...(params.stopTokenIds ?? [])])];
  if (stopIds.length > MAX_STOP_IDS) {
    throw new InvalidRequestError("stopTokenIds", `${stopIds.length} ids end the reply; at most ${MAX_STOP_IDS} can.`);
  }
  for (const id of stopIds) tokenId("stopTokenIds", id, vocabulary);
  return {
    temperature: within("temperature", pick("temperature") ?? 1, 0, 100),
    topK: whole("topK", pick("topK") ?? 0, 0),
    topP: within("topP", pick("topP") ?? 1, Number.MIN_VALUE, 1, "above 0 and at most 1"),
    minP: within("minP", pick("minP") ?? 0, 0, 1),
    presencePenalty: within("presencePenalty", pick("presencePenalty") ?? 0, -2, 2),
    frequencyPenalty: within("frequencyPenalty", pick("frequencyPenalty") ?? 0, -2, 2),
    repetitionPenalty: within("repetitionPenalty", pick("repetitionPenalty") ?? 1, 0.01, 10),
    seed: (params.seed === undefined ? Math.random() * 2 ** 32 : whole("seed", params.seed, 0)) >>> 0,
    logitBias: biases(params.logitBias ?? {}, vocabulary),
    stopIds,
    maxTokens: whole("maxTokens", params.maxTokens ?? 2 ** 31 - 1, 1),
  };
}

function biases(bias: Readonly<Record<number, number>>, vocabulary: number): Map<number, number> {
  return new Map(
    Object.entries(bias).map(([id, amount]) => [
      tokenId("logitBias", Number(id), vocabulary),
      within("logitBias", amount, -1e4, 1e4),
    ]),
  );
}

function within(field: string, value: number, from: number, to: number, range = `from ${from} to ${to}`): number {
  if (typeof value === "number" && value >= from && value <= to) return value;
  throw new InvalidRequestError(field, `${value} is not a number ${range}.`);
}

function whole(field: string, value: number, from: number): number {
  if (Number.isSafeInteger(value) && value >= from) return value;
  throw new InvalidRequestError(field, `${value} is not a whole number of at least ${from}.`);
}

function tokenId(field: string, id: number, vocabulary: number): number {
  if (Number.isInteger(id) && id >= 0 && id < vocabulary) return id;
  throw new InvalidRequestError(field, `${id} is not a token id; they go from 0 to ${vocabulary - 1}.`);
}
