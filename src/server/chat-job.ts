import type { Context } from "hono";
import { type ChatRequest, chatMessages, chatParams } from "./chat-request.ts";
import { type FieldNames, fieldNames } from "./field-names.ts";
import { withSeedOf } from "./fields.ts";
import type { Job } from "./job.ts";
import { chatNames } from "./request-names.ts";
import type { Env } from "./respond.ts";
import type { Service } from "./service.ts";
import { hasFirmCalls, standingCalls } from "./standing-calls.ts";

/** The replies that a chat request asks for. `names` are those of the request that it was made of. */
export function startChat(
  c: Context<Env>,
  service: Service,
  request: ChatRequest,
  names: FieldNames = fieldNames(chatNames(request)),
): Job {
  const { llm, options } = service;
  service.checkCount(request.n ?? 1);
  const messages = chatMessages(request.messages);
  const params = chatParams(request, options.templateVariables);
  const choices = Array.from(
    { length: request.n ?? 1 },
    (_, index) => (signal: AbortSignal) => llm.chat(messages, { ...withSeedOf(params, index), signal }),
  );
  const areFirm = hasFirmCalls(params);
  return service.start(choices, c, {
    names,
    shape: (events) => standingCalls(events, areFirm),
  });
}

/** The token ids of the prompt of a chat request. */
export async function promptIds({ llm, options }: Service, request: ChatRequest): Promise<number[]> {
  const params = chatParams(request, options.templateVariables);
  return llm.tokenize(await llm.render(chatMessages(request.messages), params));
}
