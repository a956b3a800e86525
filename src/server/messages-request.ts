import * as z from "zod";
import type { ChatRequest } from "./chat-request.ts";
import { type FieldNames, fieldNames } from "./field-names.ts";
import { generationFields } from "./fields.ts";
import { invalid } from "./http-error.ts";
import { chatNames } from "./request-names.ts";
import { optional } from "./schema.ts";

const text = optional(z.string());
const part = z.looseObject({ type: z.string(), text: z.unknown().optional() });
const content = z.union([z.string(), z.array(part)]);

const block = z.union([
  z.object({ type: z.literal("text"), text: z.string() }),
  z.object({ type: z.literal("thinking"), thinking: z.string() }),
  z.object({ type: z.literal("redacted_thinking") }),
  z.object({ type: z.literal("tool_use"), id: z.string(), name: z.string(), input: z.record(z.string(), z.unknown()) }),
  z.object({ type: z.literal("tool_result"), tool_use_id: z.string(), content: optional(content) }),
]);

const tool = z.looseObject({
  name: z.string().min(1),
  description: text,
  input_schema: z.unknown().optional(),
  strict: optional(z.boolean()),
});

const outputFormat = optional(z.object({ type: z.literal("json_schema"), schema: z.record(z.string(), z.unknown()) }));

const conversationFields = {
  messages: z
    .array(z.object({ role: z.enum(["system", "user", "assistant"]), content: z.union([z.string(), z.array(block)]) }))
    .min(1),
  system: optional(content),
  tools: optional(z.array(tool)),
  tool_choice: optional(
    z.object({
      type: z.enum(["auto", "any", "tool", "none"]),
      name: text,
      disable_parallel_tool_use: optional(z.boolean()),
    }),
  ),
  thinking: optional(z.object({ type: z.string(), budget_tokens: optional(z.number().int().min(0)) })),
  chat_template_kwargs: optional(z.record(z.string(), z.unknown())),
};

/** What `POST /v1/messages` takes. */
export const messagesRequest = z.object({
  ...generationFields,
  ...conversationFields,
  max_tokens: z.number().int(),
  stop_sequences: optional(z.array(z.string())),
  output_config: optional(z.object({ format: outputFormat })),
  /** As it was called at first. */
  output_format: outputFormat,
});

/** What `POST /v1/messages/count_tokens` takes. */
export const countRequest = messagesRequest.partial({ max_tokens: true });

export type MessagesRequest = z.infer<typeof countRequest>;

/** The same as a chat. */
export function toChatRequest(request: MessagesRequest): ChatRequest {
  const { system, thinking, tool_choice: choice, ...fields } = request;
  const instructions = system === undefined ? [] : [{ role: "system", content: system } as const];
  const messages = [...instructions, ...request.messages.flatMap(({ role, content }) => turn(role, content))];
  const last = messages.at(-1);
  return {
    ...fields,
    n: 1,
    messages,
    stop: request.stop_sequences ?? request.stop,
    tools: request.tools?.map(({ name, description, input_schema, strict }) => ({
      type: "function",
      function: { name, description, parameters: input_schema, strict },
    })),
    response_format: responseFormat(request) ?? request.response_format,
    tool_choice: toolChoice(choice),
    parallel_tool_calls: choice?.disable_parallel_tool_use ? false : undefined,
    reasoning_effort: !thinking ? undefined : thinking.type === "disabled" ? "none" : "medium",
    thinking_token_budget: thinking?.budget_tokens,
    // A conversation that ends with the assistant's words has them continued.
    continue_final_message: last?.role === "assistant" && !last.tool_calls,
  };
}

/** What the request calls what the chat is asked for. */
export const messagesNames = (request: MessagesRequest, chat: ChatRequest): FieldNames =>
  fieldNames({
    ...chatNames(chat, "input_schema"),
    ...(responseFormat(request) && {
      format: request.output_config?.format ? "output_config.format" : "output_format",
    }),
    ...(request.stop_sequences && { stop: "stop_sequences" }),
    thinking: "thinking",
    thinkingBudget: "thinking.budget_tokens",
    messages: "messages",
  });

function responseFormat(request: MessagesRequest): ChatRequest["response_format"] {
  const format = request.output_config?.format ?? request.output_format;
  return format && { type: "json_schema", json_schema: { schema: format.schema } };
}

type Message = ChatRequest["messages"][number];
type Content = MessagesRequest["messages"][number]["content"];

/** One turn: results of calls are messages of their own, before what is said with them. */
function turn(role: "system" | "user" | "assistant", content: Content): Message[] {
  if (typeof content === "string") return [{ role, content }];
  const of = <T extends (typeof content)[number]["type"]>(type: T) =>
    content.filter((entry): entry is Extract<(typeof content)[number], { type: T }> => entry.type === type);
  const results = of("tool_result").map(
    (result) => ({ role: "tool", content: result.content ?? "", tool_call_id: result.tool_use_id }) as const,
  );
  const calls = of("tool_use").map(({ id, name, input }) => ({ id, function: { name, arguments: input } }));
  const thoughts = of("thinking").map(({ thinking }) => thinking);
  const texts = of("text");
  if (texts.length + calls.length + thoughts.length === 0) return results;
  const said = {
    role,
    content: texts.length > 0 ? texts.map(({ text }) => text).join("\n") : undefined,
    tool_calls: calls.length > 0 ? calls : undefined,
    reasoning_content: thoughts.length > 0 ? thoughts.join("") : undefined,
  };
  return [...results, said];
}

function toolChoice(choice: MessagesRequest["tool_choice"]): ChatRequest["tool_choice"] {
  switch (choice?.type) {
    case "any":
      return "required";
    case "tool":
      if (choice?.name === undefined) throw invalid("tool_choice.name", "name the tool.");
      return { type: "function", function: { name: choice.name } };
    default:
      return choice?.type;
  }
}
