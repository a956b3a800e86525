import type { Context } from "hono";
import type { GenerationEvent } from "../../api/types.ts";
import { promptIds, startChat } from "../chat-job.ts";
import { type ChatRequest, chatRequest } from "../chat-request.ts";
import type { Finish } from "../job.ts";
import { readJson } from "../read-json.ts";
import { completionHead } from "../reply-head.ts";
import { chatLogprobs, stopReason, timingsOf, usageCounts, usageOf } from "../reply-parts.ts";
import { DONE, type Env, type Events, respondStream, respondWhole, sse, type Whole } from "../respond.ts";
import type { Service } from "../service.ts";

/** `POST /v1/chat/completions` */
export async function chatCompletions(c: Context<Env>, service: Service): Promise<Response> {
  const request = await readJson(c.req.raw, chatRequest, service.options.maxBodyBytes);
  const { options } = service;
  const head = completionHead(c, service, request, "chatcmpl-");
  const job = startChat(c, service, request);
  const ids = request.return_token_ids ? await promptIds(service, request) : undefined;
  if (!request.stream) {
    return respondWhole(c, job, options, (replies) => ({
      ...head,
      object: "chat.completion",
      choices: replies.map((reply, index) => wholeChoice(reply, index, request)),
      usage: usageOf(finishes(replies), replies.length),
      ...(ids && { prompt_token_ids: ids }),
      ...((request.timings || request.timings_per_token) && { timings: timingsOf(replies[0].finish) }),
    }));
  }
  return respondStream(c, job, options, (events) =>
    chunks(events, request, { ...head, object: "chat.completion.chunk" }, ids),
  );
}

const finishes = (replies: readonly Whole[]): Finish[] => replies.map(({ finish }) => finish);

function wholeChoice({ finish, logprobs, text }: Whole, index: number, request: ChatRequest) {
  const { reasoning, toolCalls = [], reason } = finish;
  const content = text + endOf(finish, request);
  return {
    index,
    message: {
      role: "assistant",
      content: content === "" && toolCalls.length > 0 ? null : content,
      refusal: null,
      ...(reasoning && request.include_reasoning !== false && thoughts(reasoning)),
      ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
    },
    logprobs: wantsLogprobs(request) ? chatLogprobs(logprobs) : null,
    finish_reason: reason,
    stop_reason: stopReason(finish),
    ...(request.return_token_ids && { token_ids: finish.tokenIds }),
  };
}

/** Chunks of all choices: first their roles, then what comes, then usage if it was asked for. */
async function* chunks(events: Events, request: ChatRequest, head: object, ids?: readonly number[]) {
  const count = request.n ?? 1;
  const { include_usage: withUsage, continuous_usage_stats: isContinuous } = request.stream_options ?? {};
  const counts = { prompt: 0, cached: 0, completion: 0, reasoning: 0 };
  const ends: Finish[] = [];
  const chunk = (index: number, delta: object, more: object = {}) =>
    sse({
      ...head,
      choices: [{ index, delta, logprobs: null, finish_reason: null, ...more }],
      ...(withUsage && { usage: isContinuous ? usageCounts(counts) : null }),
    });
  for (let index = 0; index < count; index++) {
    yield chunk(index, { role: "assistant", content: "" }, ids && { prompt_token_ids: ids });
  }
  for await (const { index, item } of events) {
    if (item.kind === "prefill") {
      counts.prompt = item.total;
      continue;
    }
    if (item.kind === "finish") {
      ends[index] = item;
      const rest = endOf(item, request);
      if (rest !== "") yield chunk(index, { content: rest });
      yield chunk(index, {}, { finish_reason: item.reason, stop_reason: stopReason(item) });
      continue;
    }
    counts.completion += item.tokenIds.length;
    if (item.kind === "reasoning") counts.reasoning += item.tokenIds.length;
    const delta = deltaOf(item, request);
    if (!delta) continue;
    yield chunk(index, delta, {
      ...(wantsLogprobs(request) && { logprobs: chatLogprobs(item.logprobs ?? []) }),
      ...(request.return_token_ids && { token_ids: item.tokenIds }),
    });
  }
  if (withUsage) yield sse({ ...head, choices: [], usage: usageOf(ends, count) });
  if (request.timings || request.timings_per_token) yield sse({ ...head, choices: [], timings: timingsOf(ends[0]) });
  yield DONE;
}

type Piece = Extract<GenerationEvent, { kind: "text" | "reasoning" | "toolCall" }>;

function deltaOf(piece: Piece, request: ChatRequest): object | undefined {
  switch (piece.kind) {
    case "text":
      return { content: piece.text };
    case "reasoning":
      return request.include_reasoning === false ? undefined : thoughts(piece.text);
    case "toolCall": {
      const { index, id, name, argumentsDelta } = piece;
      const first = name === undefined ? {} : { id, type: "function" };
      return {
        tool_calls: [{ index, ...first, function: { ...(name !== undefined && { name }), arguments: argumentsDelta } }],
      };
    }
  }
}

/** Under the names that clients of vLLM and of everything else read. */
const thoughts = (text: string) => ({ reasoning_content: text, reasoning: text });

const wantsLogprobs = ({ logprobs, top_logprobs }: ChatRequest): boolean =>
  logprobs !== false && (logprobs !== undefined || top_logprobs !== undefined);

/** The stop text, where it is wanted. */
const endOf = ({ stop }: Finish, { include_stop_str_in_output }: ChatRequest): string =>
  include_stop_str_in_output && typeof stop === "string" ? stop : "";
