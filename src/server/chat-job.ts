import type { Context } from "hono";
import { type ChatRequest, chatMessages, chatParams } from "./chat-request.ts";
import { withSeedOf } from "./fields.ts";
import type { Job } from "./job.ts";
import type { Env } from "./respond.ts";
import type { Service } from "./service.ts";

/** The replies that a chat request asks for. */
export function startChat(c: Context<Env>, service: Service, request: ChatRequest): Job {
  const { llm, options } = service;
  service.checkCount(request.n ?? 1);
  const messages = chatMessages(request.messages);
  const params = chatParams(request, options.templateVariables);
  const choices = Array.from(
    { length: request.n ?? 1 },
    (_, index) => (signal: AbortSignal) => llm.chat(messages, { ...withSeedOf(params, index), signal }),
  );
  return service.start(choices, c.get("client"), c.req.raw.signal);
}

/** The token ids of the prompt of a chat request. */
export async function promptIds({ llm, options }: Service, request: ChatRequest): Promise<number[]> {
  const params = chatParams(request, options.templateVariables);
  return llm.tokenize(await llm.render(chatMessages(request.messages), params));
}
