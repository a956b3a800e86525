import type { Context } from "hono";
import { type Block, blocksOf, toBlocks } from "../blocks.ts";
import { startChat } from "../chat-job.ts";
import type { HttpError } from "../http-error.ts";
import type { Finish } from "../job.ts";
import { readJson } from "../read-json.ts";
import { modelName, newId } from "../reply-head.ts";
import { chatLogprobs } from "../reply-parts.ts";
import { type Env, type Events, respondStream, respondWhole, sse } from "../respond.ts";
import { type ResponsesRequest, responsesNames, responsesRequest, toChatRequest } from "../responses-request.ts";
import type { Service } from "../service.ts";

/** `POST /v1/responses`, without the keeping of replies. */
export async function responses(c: Context<Env>, service: Service): Promise<Response> {
  const request = await readJson(c.req.raw, responsesRequest, service.options.maxBodyBytes);
  const head = responseHead(request, modelName(c, service, request.model));
  const chat = toChatRequest(request);
  const job = startChat(c, service, chat, responsesNames(request, chat));
  if (!request.stream) {
    return respondWhole(c, job, service.options, ([{ finish, text, logprobs }]) =>
      completed(
        head,
        finish,
        blocksOf(finish, text, logprobs).map((block) => itemOf(block)),
      ),
    );
  }
  const numbered = counter();
  const failed = (error: HttpError) =>
    numbered("response.failed", { response: { ...head, status: "failed", error: failureOf(error) } }) +
    sse({ ...error.body.error, type: "error" }, "error");
  return respondStream(c, job, service.options, (events) => frames(events, head, numbered), failed);
}

function responseHead(request: ResponsesRequest, model: string) {
  return {
    id: newId("resp_"),
    object: "response",
    created_at: Math.floor(Date.now() / 1000),
    status: "in_progress",
    background: false,
    error: null as unknown,
    incomplete_details: null as unknown,
    instructions: request.instructions ?? null,
    max_output_tokens: request.max_output_tokens ?? null,
    metadata: request.metadata ?? {},
    model,
    output: [] as readonly object[],
    parallel_tool_calls: request.parallel_tool_calls ?? true,
    previous_response_id: null,
    reasoning: { effort: request.reasoning?.effort ?? null, summary: null },
    store: false,
    temperature: request.temperature ?? null,
    text: { format: request.text?.format ?? { type: "text" } },
    tool_choice: request.tool_choice ?? "auto",
    tools: request.tools ?? [],
    top_logprobs: request.top_logprobs ?? 0,
    top_p: request.top_p ?? null,
    truncation: "disabled",
    usage: null as unknown,
    user: request.user ?? null,
  };
}

type Head = ReturnType<typeof responseHead>;

function completed(head: Head, { reason, usage }: Finish, output: readonly object[]): Head {
  const isCut = reason === "length";
  return {
    ...head,
    status: isCut ? "incomplete" : "completed",
    incomplete_details: isCut ? { reason: "max_output_tokens" } : null,
    output,
    usage: {
      input_tokens: usage.promptTokens,
      input_tokens_details: { cached_tokens: usage.cachedTokens },
      output_tokens: usage.completionTokens,
      output_tokens_details: { reasoning_tokens: usage.reasoningTokens },
      total_tokens: usage.promptTokens + usage.completionTokens,
    },
  };
}

const failureOf = ({ message, facts }: HttpError) => ({ code: facts.code, message });

const PREFIX = { reasoning: "rs_", text: "msg_", call: "fc_" };

/** A block as an item of the output. */
function itemOf(block: Block, id = newId(PREFIX[block.kind]), status = "completed") {
  switch (block.kind) {
    case "reasoning":
      return { type: "reasoning", id, status, summary: [], content: [partOf(block)] };
    case "text":
      return { type: "message", id, status, role: "assistant", content: [partOf(block)] };
    case "call":
      return { type: "function_call", id, status, call_id: block.id, name: block.name, arguments: block.text };
  }
}

const partOf = ({ kind, text, logprobs }: Block) =>
  kind === "reasoning"
    ? { type: "reasoning_text", text }
    : { type: "output_text", text, annotations: [], logprobs: chatLogprobs(logprobs).content };

/** Writes events with the numbers that they have in their stream. */
function counter() {
  let sequence = 0;
  return (type: string, data: object) => sse({ type, sequence_number: sequence++, ...data }, type);
}

async function* frames(
  events: Events,
  head: Head,
  frame: ReturnType<typeof counter>,
): AsyncGenerator<string, void, void> {
  const items: ReturnType<typeof itemOf>[] = [];
  yield frame("response.created", { response: head });
  yield frame("response.in_progress", { response: head });
  for await (const event of toBlocks(events)) {
    if (event.kind === "prefill") continue;
    if (event.kind === "finish") {
      const type = event.finish.reason === "length" ? "response.incomplete" : "response.completed";
      yield frame(type, { response: completed(head, event.finish, items) });
      return;
    }
    const { block } = event;
    const id = items[block.index]?.id ?? newId(PREFIX[block.kind]);
    const place = { item_id: id, output_index: block.index };
    const inPart = { ...place, content_index: 0 };
    if (event.kind === "open") {
      const item = itemOf(block, id, "in_progress");
      items[block.index] = item;
      yield frame("response.output_item.added", {
        output_index: block.index,
        item: block.kind === "call" ? item : { ...item, content: [] },
      });
      if (block.kind !== "call") yield frame("response.content_part.added", { ...inPart, part: partOf(block) });
    } else if (event.kind === "delta") {
      const { delta } = event;
      if (block.kind === "call") yield frame("response.function_call_arguments.delta", { ...place, delta });
      else if (block.kind === "reasoning") yield frame("response.reasoning_text.delta", { ...inPart, delta });
      else yield frame("response.output_text.delta", { ...inPart, delta, logprobs: [] });
    } else {
      const { text } = block;
      const logprobs = chatLogprobs(block.logprobs).content;
      if (block.kind === "call") {
        yield frame("response.function_call_arguments.done", { ...place, name: block.name, arguments: text });
      } else if (block.kind === "reasoning") yield frame("response.reasoning_text.done", { ...inPart, text });
      else yield frame("response.output_text.done", { ...inPart, text, logprobs });
      if (block.kind !== "call") yield frame("response.content_part.done", { ...inPart, part: partOf(block) });
      const item = itemOf(block, id);
      items[block.index] = item;
      yield frame("response.output_item.done", { output_index: block.index, item });
    }
  }
}
