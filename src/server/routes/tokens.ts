import type { Context } from "hono";
import * as z from "zod";
import { chatMessages, renderFields, renderParams } from "../chat-request.ts";
import { invalid } from "../http-error.ts";
import { readJson } from "../read-json.ts";
import type { Env } from "../respond.ts";
import { optional } from "../schema.ts";
import type { Service } from "../service.ts";

const tokenizeRequest = z.object({
  ...renderFields,
  messages: optional(renderFields.messages),
  prompt: optional(z.string()),
  content: optional(z.string()),
  return_token_strs: optional(z.boolean()),
  with_pieces: optional(z.boolean()),
});

/** `POST /tokenize`: of a text (vLLM's `prompt`, llama.cpp's `content`) or a chat. */
export async function tokenize(c: Context<Env>, service: Service): Promise<Response> {
  const { messages, ...request } = await readJson(c.req.raw, tokenizeRequest, service.options.maxBodyBytes);
  const { llm, options } = service;
  const chat = messages && { ...request, messages };
  const text = chat
    ? await llm.render(chatMessages(messages), renderParams(chat, options.templateVariables))
    : (request.prompt ?? request.content);
  if (text === undefined) throw invalid("prompt", "give a text, or messages.");
  const ids = await llm.tokenize(text);
  const pieces = () => Promise.all(ids.map((id) => llm.detokenize([id])));
  if (request.with_pieces) {
    const texts = await pieces();
    return c.json({ tokens: ids.map((id, index) => ({ id, piece: texts[index] })) });
  }
  return c.json({
    count: ids.length,
    max_model_len: llm.info.maxContext,
    tokens: ids,
    token_strs: request.return_token_strs ? await pieces() : null,
  });
}

const detokenizeRequest = z.object({ tokens: z.array(z.number().int().min(0)) });

/** `POST /detokenize`, answered under vLLM's name and llama.cpp's. */
export async function detokenize(c: Context<Env>, service: Service): Promise<Response> {
  const { tokens } = await readJson(c.req.raw, detokenizeRequest, service.options.maxBodyBytes);
  const text = await service.llm.detokenize(tokens);
  return c.json({ prompt: text, content: text });
}

const templateRequest = z.object(renderFields);

/** `POST /apply-template`: the prompt that a chat becomes. */
export async function applyTemplate(c: Context<Env>, service: Service): Promise<Response> {
  const request = await readJson(c.req.raw, templateRequest, service.options.maxBodyBytes);
  const { llm, options } = service;
  const params = renderParams(request, options.templateVariables);
  return c.json({ prompt: await llm.render(chatMessages(request.messages), params) });
}
