import type { Context } from "hono";
import * as z from "zod";
import type { LanguageModel } from "../../api/llm-interface.ts";
import type { GenerationEvent, ScoredToken } from "../../api/types.ts";
import { type FieldNames, fieldNames } from "../field-names.ts";
import { generateParams, generationFields } from "../fields.ts";
import { invalid } from "../http-error.ts";
import type { Choice, Finish } from "../job.ts";
import { readJson } from "../read-json.ts";
import { newId } from "../reply-head.ts";
import { generationNames } from "../request-names.ts";
import { DONE, type Env, type Events, respondStream, respondWhole, sse, type Whole } from "../respond.ts";
import { optional } from "../schema.ts";
import type { Service } from "../service.ts";
import { promptList, readOnly } from "../text-choices.ts";

const whole = optional(z.number().int());

const samplingParams = z.object({ ...generationFields, max_new_tokens: whole });

const generateRequest = z.object({
  text: optional(z.union([z.string(), z.array(z.string()).min(1)])),
  input_ids: optional(z.union([z.array(z.number().int()).min(1), z.array(z.array(z.number().int()).min(1)).min(1)])),
  sampling_params: optional(z.union([samplingParams, z.array(samplingParams)])),
  stream: optional(z.boolean()),
  return_logprob: optional(z.union([z.boolean(), z.array(z.boolean())])),
  logprob_start_len: optional(z.union([z.number().int(), z.array(z.number().int())])),
  top_logprobs_num: optional(z.union([z.number().int(), z.array(z.number().int())])),
  return_text_in_logprobs: optional(z.boolean()),
});

type GenerateRequest = z.infer<typeof generateRequest>;

const DEFAULT_MAX_TOKENS = 128;

/** What SGLang's front end asks of one prompt. */
interface Ask {
  readonly id: string;
  readonly wantsLogprobs: boolean;
  readonly top: number;
  /** From which token of the prompt on its log-probabilities are wanted; beyond its end where none are. */
  readonly scoreFrom: number;
  readonly withText: boolean;
  readonly maxTokens: number;
  /** Of the prompt, from the first to the last. */
  scored: (ScoredToken | { readonly id: number; readonly text: string })[];
}

/** `POST /generate`: SGLang's own interface, as its front end needs it. Streamed text is all of the text so far. */
export async function generate(c: Context<Env>, service: Service): Promise<Response> {
  const request = await readJson(c.req.raw, generateRequest, service.options.maxBodyBytes);
  const { llm, options } = service;
  const given = request.text ?? request.input_ids;
  if (given === undefined) throw invalid("text", "give text or input_ids.");
  const isBatch = typeof given !== "string" && typeof given[0] !== "number";
  const prompts = promptList(given);
  service.checkCount(prompts.length);
  const parts = prompts.map((prompt, index) => choiceOf(llm, prompt, request, index));
  const asks = parts.map(({ ask }) => ask);
  const job = service.start(
    parts.map(({ choice }) => choice),
    c,
    { names: samplingNames(request) },
  );
  if (request.stream) return respondStream(c, job, options, (events) => frames(events, asks, isBatch));
  return respondWhole(c, job, options, (replies) => {
    const answers = replies.map((reply, index) => answerOf(reply, asks[index]));
    return isBatch ? answers : answers[0];
  });
}

/** The fields of the one place where parameters stand. */
function samplingNames({ sampling_params }: GenerateRequest): FieldNames {
  const [fields] = [sampling_params ?? []].flat();
  const names = fieldNames(fields && { ...generationNames(fields), maxTokens: "max_new_tokens" });
  return (field) => (/^(prompt|messages)/.test(field) ? "text" : `sampling_params.${names(field)}`);
}

function choiceOf(llm: LanguageModel, prompt: string | readonly number[], request: GenerateRequest, index: number) {
  const at = <T>(value: T | readonly T[] | undefined) => (Array.isArray(value) ? value[index] : value) as T | undefined;
  const fields = at(request.sampling_params) ?? samplingParams.parse({});
  const params = generateParams(fields);
  const wantsLogprobs = at(request.return_logprob) ?? false;
  const start = at(request.logprob_start_len) ?? -1;
  const ask: Ask = {
    id: newId("gen-"),
    wantsLogprobs,
    top: at(request.top_logprobs_num) ?? 0,
    scoreFrom: wantsLogprobs && start >= 0 ? start : Number.POSITIVE_INFINITY,
    withText: request.return_text_in_logprobs ?? false,
    maxTokens: fields.max_new_tokens ?? params.maxTokens ?? DEFAULT_MAX_TOKENS,
    scored: [],
  };
  const choice: Choice = async function* (signal): AsyncGenerator<GenerationEvent, void, void> {
    if (ask.scoreFrom !== Number.POSITIVE_INFINITY) {
      const ids = typeof prompt === "string" ? await llm.tokenize(prompt) : prompt;
      const first = { id: ids[0], text: await llm.detokenize(ids.slice(0, 1)) };
      ask.scored = [first, ...(await llm.score(ids, { logprobs: ask.top, signal }))];
    }
    const all = { ...params, maxTokens: ask.maxTokens, logprobs: wantsLogprobs ? ask.top : undefined, signal };
    yield* ask.maxTokens === 0 ? readOnly(llm, prompt, all) : llm.generate(prompt, all);
  };
  return { ask, choice };
}

function answerOf({ finish, text, logprobs }: Whole, ask: Ask) {
  const { usage, tokenIds } = finish;
  const entry = (token: ScoredToken | Ask["scored"][number]) => [
    "logprob" in token ? token.logprob : null,
    token.id,
    ask.withText ? token.text : null,
  ];
  const top = (token: ScoredToken | Ask["scored"][number]) => ("top" in token ? token.top.map(entry) : null);
  const scored = ask.scored.slice(Math.min(ask.scoreFrom, ask.scored.length));
  return {
    text,
    output_ids: tokenIds,
    meta_info: {
      id: ask.id,
      finish_reason: finishReason(finish, ask),
      prompt_tokens: usage.promptTokens,
      completion_tokens: usage.completionTokens,
      cached_tokens: usage.cachedTokens,
      ...(ask.wantsLogprobs && {
        input_token_logprobs: scored.map(entry),
        output_token_logprobs: logprobs.map(entry),
        ...(ask.top > 0 && { input_top_logprobs: scored.map(top), output_top_logprobs: logprobs.map(top) }),
      }),
    },
  };
}

function finishReason({ reason, stop }: Finish, { maxTokens }: Ask) {
  return reason === "length" ? { type: "length", length: maxTokens } : { type: reason, matched: stop ?? null };
}

async function* frames(events: Events, asks: readonly Ask[], isBatch: boolean): AsyncGenerator<string, void, void> {
  const soFar = asks.map(() => ({ text: "", ids: [] as number[], logprobs: [] as ScoredToken[] }));
  for await (const { index, item } of events) {
    const part = soFar[index];
    const place = isBatch ? { index } : {};
    if (item.kind === "text") {
      part.text += item.text;
      part.ids.push(...item.tokenIds);
      part.logprobs.push(...(item.logprobs ?? []));
      const meta_info = { id: asks[index].id, finish_reason: null, completion_tokens: part.ids.length };
      yield sse({ ...place, text: part.text, output_ids: part.ids, meta_info });
    }
    if (item.kind === "finish") yield sse({ ...place, ...answerOf({ finish: item, ...part }, asks[index]) });
  }
  yield DONE;
}

/** `GET /get_model_info` */
export function modelInfo(c: Context<Env>, { llm, names }: Service): Response {
  return c.json({
    model_path: names.first,
    tokenizer_path: names.first,
    is_generation: true,
    model_type: llm.info.modelType,
    weight_version: "default",
  });
}

/** `GET /get_server_info` */
export function serverInfo(c: Context<Env>, { llm, names, options, gate }: Service): Response {
  const { info } = llm;
  return c.json({
    model_path: names.first,
    served_model_name: names.first,
    context_length: info.maxContext,
    max_total_num_tokens: info.cacheTokens,
    chunked_prefill_size: info.maxBatchTokens,
    max_running_requests: info.maxSequences,
    running_requests: gate.count,
    version: options.version,
    device: info.adapter.name,
    memory: info.memory,
  });
}

/** `GET /health_generate`: 200 when one token could be written. */
export async function healthGenerate(c: Context<Env>, service: Service): Promise<Response> {
  const choice: Choice = (signal) => service.llm.generate([0], { maxTokens: 1, ignoreEos: true, signal });
  const job = service.start([choice], c);
  return respondWhole(c, job, service.options, () => ({ status: "ok" }));
}

/** `POST /flush_cache` */
export async function flushCache(c: Context<Env>, { llm }: Service): Promise<Response> {
  await llm.clearCache();
  return c.text("Cache flushed.\n");
}
