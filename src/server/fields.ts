import * as z from "zod";
import type { GenerateParams } from "../api/types.ts";
import { askedFormat, outputFormatFields } from "./output-format.ts";
import { optional, type Sparse } from "./schema.ts";

const number = optional(z.number());
const whole = optional(z.number().int());
const flag = optional(z.boolean());

/** Fields that requests for text and for chat have in common, with what other servers call them. */
export const generationFields = {
  model: optional(z.string()),
  stream: flag,
  stream_options: optional(z.object({ include_usage: flag, continuous_usage_stats: flag })),
  max_tokens: whole,
  max_completion_tokens: whole,
  n_predict: whole,
  temperature: number,
  top_p: number,
  top_k: whole,
  min_p: number,
  presence_penalty: number,
  frequency_penalty: number,
  repetition_penalty: number,
  repeat_penalty: number,
  seed: optional(z.number().refine((seed) => Number.isInteger(seed) && Math.abs(seed) <= 2 ** 63, "must be an int64")),
  logit_bias: optional(z.record(z.string().regex(/^\d+$/, "must be a token id"), z.number())),
  n: optional(z.number().int().min(1)),
  stop: optional(z.union([z.string(), z.array(z.string())])),
  stop_token_ids: optional(z.array(z.number().int())),
  include_stop_str_in_output: flag,
  ignore_eos: flag,
  return_token_ids: flag,
  timings: flag,
  timings_per_token: flag,
  ...outputFormatFields,
};

export type GenerationFields = Sparse<z.infer<z.ZodObject<typeof generationFields>>>;

/** What the fields ask of the model; `logprobs` and `signal` are the caller's to add. */
export function generateParams(fields: GenerationFields): GenerateParams {
  const stop = [fields.stop ?? []].flat().filter((text) => text !== "");
  const maxTokens = fields.max_completion_tokens ?? fields.max_tokens ?? fields.n_predict;
  return {
    // llama.cpp writes "no limit" so.
    maxTokens: maxTokens === -1 ? undefined : maxTokens,
    temperature: fields.temperature,
    topP: fields.top_p,
    // vLLM writes "off" so.
    topK: fields.top_k === -1 ? 0 : fields.top_k,
    minP: fields.min_p,
    presencePenalty: fields.presence_penalty,
    frequencyPenalty: fields.frequency_penalty,
    repetitionPenalty: fields.repetition_penalty ?? fields.repeat_penalty,
    seed: fields.seed === undefined ? undefined : u32(fields.seed),
    logitBias: fields.logit_bias,
    stop: stop.length > 0 ? stop : undefined,
    stopTokenIds: fields.stop_token_ids,
    ignoreEos: fields.ignore_eos,
    format: askedFormat(fields)?.format,
  };
}

/** Of several replies to one prompt, each has its own seed, and the first the one that was given. */
export const withSeedOf = <T extends GenerateParams>(params: T, index: number): T =>
  params.seed === undefined ? params : { ...params, seed: u32(params.seed + index) };

const u32 = (seed: number): number => ((seed % 2 ** 32) + 2 ** 32) % 2 ** 32;
