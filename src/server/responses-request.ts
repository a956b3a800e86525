import * as z from "zod";
import type { ChatRequest } from "./chat-request.ts";
import { type FieldNames, fieldNames } from "./field-names.ts";
import { generationFields } from "./fields.ts";
import { invalid } from "./http-error.ts";
import { chatNames } from "./request-names.ts";
import { optional } from "./schema.ts";

const text = optional(z.string());
const parts = z.array(z.looseObject({ type: z.string(), text: z.unknown().optional() }));
const textOrParts = z.union([z.string(), parts]);

const item = z.union([
  z.object({ type: z.literal("function_call"), call_id: z.string(), name: z.string(), arguments: z.string() }),
  z.object({ type: z.literal("function_call_output"), call_id: z.string(), output: textOrParts }),
  z.object({ type: z.literal("reasoning"), content: optional(parts), summary: optional(parts) }),
  z.object({
    type: optional(z.literal("message")),
    role: z.enum(["system", "developer", "user", "assistant"]),
    content: textOrParts,
  }),
]);

const tool = z.looseObject({
  type: z.string(),
  name: text,
  description: text,
  parameters: z.unknown().optional(),
  strict: optional(z.boolean()),
});

/** What `POST /v1/responses` takes. */
export const responsesRequest = z.object({
  ...generationFields,
  input: z.union([z.string(), z.array(item).min(1)]),
  instructions: text,
  tools: optional(z.array(tool)),
  tool_choice: optional(
    z.union([z.enum(["auto", "none", "required"]), z.object({ type: z.literal("function"), name: z.string() })]),
  ),
  parallel_tool_calls: optional(z.boolean()),
  max_output_tokens: optional(z.number().int()),
  top_logprobs: optional(z.number().int()),
  include: optional(z.array(z.string())),
  reasoning: optional(z.object({ effort: text })),
  text: optional(z.object({ format: optional(z.looseObject({ type: z.string(), schema: z.unknown().optional() })) })),
  previous_response_id: text,
  metadata: optional(z.record(z.string(), z.string())),
  chat_template_kwargs: optional(z.record(z.string(), z.unknown())),
  user: text,
});

export type ResponsesRequest = z.infer<typeof responsesRequest>;

/** The same as a chat. Fails with 400 where it refers to what is not kept. */
export function toChatRequest(request: ResponsesRequest): ChatRequest {
  if (request.previous_response_id !== undefined) {
    throw invalid("previous_response_id", "replies are not kept; send the whole conversation as input.", "unsupported");
  }
  const { text: _, include, tool_choice: choice, ...fields } = request;
  const instructions =
    request.instructions === undefined ? [] : [{ role: "system", content: request.instructions } as const];
  const input =
    typeof request.input === "string"
      ? [{ role: "user", content: request.input } as const]
      : conversation(request.input);
  return {
    ...fields,
    n: 1,
    messages: [...instructions, ...input],
    max_completion_tokens: request.max_output_tokens ?? request.max_completion_tokens,
    tools: request.tools?.map(toTool),
    tool_choice: typeof choice === "object" ? { type: "function", function: { name: choice.name } } : choice,
    reasoning_effort: request.reasoning?.effort,
    response_format: responseFormat(request) ?? request.response_format,
    logprobs: include?.includes("message.output_text.logprobs"),
    top_logprobs: request.top_logprobs || undefined,
  };
}

/** What the request calls what the chat is asked for. */
export const responsesNames = (request: ResponsesRequest, chat: ChatRequest): FieldNames =>
  fieldNames({
    ...chatNames(chat, "parameters"),
    ...(request.text?.format && { format: "text.format" }),
    ...(request.max_output_tokens !== undefined && { maxTokens: "max_output_tokens" }),
    thinking: "reasoning.effort",
    messages: "input",
  });

type Message = ChatRequest["messages"][number];

/** Thoughts, text and calls that follow each other are one turn of the assistant. */
function conversation(items: Exclude<ResponsesRequest["input"], string>): Message[] {
  const messages: Message[] = [];
  const turn = (more: (last: Message) => Partial<Message>) => {
    if (messages.at(-1)?.role !== "assistant") messages.push({ role: "assistant" });
    const last = messages.pop()!;
    messages.push({ ...last, ...more(last) });
  };
  for (const entry of items) {
    if (entry.type === "function_call") {
      const call = { id: entry.call_id, function: { name: entry.name, arguments: entry.arguments } };
      turn((last) => ({ tool_calls: [...(last.tool_calls ?? []), call] }));
    } else if (entry.type === "function_call_output") {
      messages.push({ role: "tool", content: plain(entry.output), tool_call_id: entry.call_id });
    } else if (entry.type === "reasoning") {
      const thoughts = [...(entry.content ?? entry.summary ?? [])].map((part) => part.text).join("");
      messages.push({ role: "assistant", reasoning_content: thoughts });
    } else if (entry.role === "assistant" && messages.at(-1)?.reasoning_content !== undefined) {
      turn(() => ({ content: plain(entry.content) }));
    } else {
      messages.push({ role: entry.role, content: plain(entry.content) });
    }
  }
  return messages;
}

/** Parts of text under the one name that chats give them. */
const plain = (content: z.infer<typeof textOrParts>): Message["content"] =>
  typeof content === "string"
    ? content
    : content.map((part) => (/^(input|output)_text$/.test(part.type) ? { ...part, type: "text" } : part));

function toTool(tool: NonNullable<ResponsesRequest["tools"]>[number], index: number) {
  const { type, name, description, parameters, strict } = tool;
  if (type === "function" && name) return { type, function: { name, description, parameters, strict } } as const;
  throw invalid(`tools[${index}].type`, `${JSON.stringify(type)} tools cannot be run here; only functions can.`);
}

function responseFormat({ text: asked }: ResponsesRequest): ChatRequest["response_format"] {
  const format = asked?.format;
  if (!format || format.type === "text") return undefined;
  if (format.type === "json_object") return { type: "json_object" };
  const schema = format.schema as Record<string, unknown> | undefined;
  if (format.type === "json_schema" && schema === undefined) throw invalid("text.format.schema", "it is missing.");
  if (format.type === "json_schema") return { type: "json_schema", json_schema: { schema } };
  throw invalid("text.format.type", `${JSON.stringify(format.type)} is none of text, json_object, json_schema.`);
}
