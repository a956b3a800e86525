import type { Context } from "hono";
import { type Block, blocksOf, toBlocks } from "../blocks.ts";
import { promptIds, startChat } from "../chat-job.ts";
import type { HttpError } from "../http-error.ts";
import type { Finish } from "../job.ts";
import { countRequest, messagesNames, messagesRequest, toChatRequest } from "../messages-request.ts";
import { readJson } from "../read-json.ts";
import { modelName, newId } from "../reply-head.ts";
import { type Env, type Events, respondStream, respondWhole, sse } from "../respond.ts";
import type { Service } from "../service.ts";

/** `POST /v1/messages`: chat as Anthropic writes it. */
export async function messages(c: Context<Env>, service: Service): Promise<Response> {
  const request = await readJson(c.req.raw, messagesRequest, service.options.maxBodyBytes);
  const model = modelName(c, service, request.model);
  const head = { id: newId("msg_"), type: "message", role: "assistant", model };
  const chat = toChatRequest(request);
  const job = startChat(c, service, chat, messagesNames(request, chat));
  const error = (failure: HttpError) => anthropicError(failure, c.get("requestId"));
  if (!request.stream) {
    const whole = (finish: Finish, text: string) => ({
      ...head,
      content: blocksOf(finish, text, []).map(contentOf),
      ...ending(finish),
      usage: usageOf(finish),
    });
    return respondWhole(c, job, service.options, ([{ finish, text }]) => whole(finish, text), error);
  }
  return respondStream(
    c,
    job,
    service.options,
    (events) => frames(events, head),
    (failure) => sse(error(failure), "error"),
  );
}

/** `POST /v1/messages/count_tokens` */
export async function countTokens(c: Context<Env>, service: Service): Promise<Response> {
  const request = await readJson(c.req.raw, countRequest, service.options.maxBodyBytes);
  return c.json({ input_tokens: (await promptIds(service, toChatRequest(request))).length });
}

/** As Anthropic writes errors. */
export const anthropicError = ({ message, type, facts }: HttpError, requestId: string) => ({
  type: "error",
  error: { type: facts.status === 413 ? "request_too_large" : type === "server_error" ? "api_error" : type, message },
  request_id: requestId,
});

const STOP_REASONS = { stop: "end_turn", length: "max_tokens", tool_calls: "tool_use", abort: "end_turn" };

const ending = ({ reason, stop }: Finish) =>
  typeof stop === "string"
    ? { stop_reason: "stop_sequence", stop_sequence: stop }
    : { stop_reason: STOP_REASONS[reason], stop_sequence: null };

const usageOf = ({ usage: { promptTokens, cachedTokens, completionTokens } }: Finish) => ({
  input_tokens: promptTokens - cachedTokens,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: cachedTokens,
  output_tokens: completionTokens,
});

function contentOf({ kind, id, name, text }: Block) {
  switch (kind) {
    case "reasoning":
      return { type: "thinking", thinking: text, signature: "" };
    case "text":
      return { type: "text", text, citations: null };
    case "call":
      return { type: "tool_use", id, name, input: text === "" ? {} : JSON.parse(text) };
  }
}

function deltaOf({ kind }: Block, delta: string) {
  switch (kind) {
    case "reasoning":
      return { type: "thinking_delta", thinking: delta };
    case "text":
      return { type: "text_delta", text: delta };
    case "call":
      return { type: "input_json_delta", partial_json: delta };
  }
}

async function* frames(events: Events, head: object): AsyncGenerator<string, void, void> {
  const frame = (type: string, data: object) => sse({ type, ...data }, type);
  let hasStarted = false;
  for await (const event of toBlocks(events)) {
    if (!hasStarted) {
      hasStarted = true;
      const input_tokens = event.kind === "prefill" ? event.promptTokens : 0;
      const usage = { input_tokens, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 0 };
      yield frame("message_start", {
        message: { ...head, content: [], stop_reason: null, stop_sequence: null, usage },
      });
    }
    switch (event.kind) {
      case "open":
        yield frame("content_block_start", { index: event.block.index, content_block: contentOf(event.block) });
        break;
      case "delta":
        yield frame("content_block_delta", { index: event.block.index, delta: deltaOf(event.block, event.delta) });
        break;
      case "close":
        yield frame("content_block_stop", { index: event.block.index });
        break;
      case "finish":
        yield frame("message_delta", { delta: ending(event.finish), usage: usageOf(event.finish) });
        yield frame("message_stop", {});
    }
  }
}
