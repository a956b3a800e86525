import type { Context } from "hono";
import * as z from "zod";
import { fieldNames } from "../field-names.ts";
import { generateParams, generationFields } from "../fields.ts";
import { invalid } from "../http-error.ts";
import type { Finish } from "../job.ts";
import { readJson } from "../read-json.ts";
import { completionHead } from "../reply-head.ts";
import { completionLogprobs, stopReason, timingsOf, usageCounts, usageOf } from "../reply-parts.ts";
import { generationNames } from "../request-names.ts";
import { DONE, type Env, type Events, respondStream, respondWhole, sse } from "../respond.ts";
import { optional } from "../schema.ts";
import type { Service } from "../service.ts";
import { promptList, textChoices } from "../text-choices.ts";

const ids = z.array(z.number().int());

const completionRequest = z.object({
  ...generationFields,
  prompt: z.union([z.string(), ids.min(1), z.array(z.string()).min(1), z.array(ids.min(1)).min(1)]),
  echo: optional(z.boolean()),
  logprobs: optional(z.number().int()),
  suffix: optional(z.string()),
  best_of: optional(z.number().int().min(1)),
});

type CompletionRequest = z.infer<typeof completionRequest>;

/** Tokens where the request names no number, as OpenAI has it. */
const DEFAULT_MAX_TOKENS = 16;

/** `POST /v1/completions` */
export async function completions(c: Context<Env>, service: Service): Promise<Response> {
  const request = await readJson(c.req.raw, completionRequest, service.options.maxBodyBytes);
  const { llm, options } = service;
  const head = { ...completionHead(c, service, request, "cmpl-"), object: "text_completion" };
  const { n = 1 } = request;
  if (request.suffix) throw invalid("suffix", "this model cannot fill in what comes before a text.", "unsupported");
  if (request.best_of !== undefined && request.best_of > n) {
    throw invalid("best_of", "only as many replies as n are made.", "unsupported");
  }
  const params = generateParams(request);
  const all = { ...params, logprobs: request.logprobs, maxTokens: params.maxTokens ?? DEFAULT_MAX_TOKENS };
  const prompts = promptList(request.prompt);
  service.checkCount(prompts.length * n);
  const choices = prompts.flatMap((prompt) => textChoices(llm, prompt, n, all, request.echo ?? false));
  const names = fieldNames(generationNames(request));
  const job = service.start(choices, c, { names });
  if (!request.stream) {
    return respondWhole(c, job, options, (replies) => ({
      ...head,
      choices: replies.map(({ finish, text, logprobs }, index) => ({
        index,
        text: text + endOf(finish, request),
        logprobs: request.logprobs === undefined ? null : completionLogprobs(logprobs, 0),
        finish_reason: finish.reason,
        stop_reason: stopReason(finish),
        ...(request.return_token_ids && { token_ids: finish.tokenIds }),
      })),
      usage: usageOf(
        replies.map(({ finish }) => finish),
        n,
      ),
      ...((request.timings || request.timings_per_token) && { timings: timingsOf(replies[0].finish) }),
    }));
  }
  return respondStream(c, job, options, (events) => chunks(events, request, head, choices.length));
}

async function* chunks(events: Events, request: CompletionRequest, head: object, count: number) {
  const { include_usage: withUsage, continuous_usage_stats: isContinuous } = request.stream_options ?? {};
  const counts = { prompt: 0, cached: 0, completion: 0, reasoning: 0 };
  const lengths = new Array<number>(count).fill(0);
  const prompts = new Array<number>(count).fill(0);
  const ends: Finish[] = [];
  const chunk = (index: number, text: string, more: object = {}) =>
    sse({
      ...head,
      choices: [{ index, text, logprobs: null, finish_reason: null, ...more }],
      ...(withUsage && { usage: isContinuous ? usageCounts(counts) : null }),
    });
  for await (const { index, item } of events) {
    if (item.kind === "prefill") prompts[index] = item.total;
    counts.prompt = prompts.reduce((sum, tokens) => sum + tokens, 0);
    if (item.kind === "text") {
      counts.completion += item.tokenIds.length;
      yield chunk(index, item.text, {
        ...(request.logprobs !== undefined && { logprobs: completionLogprobs(item.logprobs ?? [], lengths[index]) }),
        ...(request.return_token_ids && { token_ids: item.tokenIds }),
      });
      lengths[index] += item.text.length;
    }
    if (item.kind === "finish") {
      ends[index] = item;
      yield chunk(index, endOf(item, request), { finish_reason: item.reason, stop_reason: stopReason(item) });
    }
  }
  if (withUsage) yield sse({ ...head, choices: [], usage: usageOf(ends, request.n) });
  if (request.timings || request.timings_per_token) yield sse({ ...head, choices: [], timings: timingsOf(ends[0]) });
  yield DONE;
}

/** The stop text, where it is wanted. */
const endOf = ({ stop }: Finish, { include_stop_str_in_output }: CompletionRequest): string =>
  include_stop_str_in_output && typeof stop === "string" ? stop : "";
