import * as z from "zod";
import type { ChatMessage, ChatParams, Tool, ToolChoice } from "../api/types.ts";
import { generateParams, generationFields } from "./fields.ts";
import { invalid } from "./http-error.ts";
import { optional, type Sparse } from "./schema.ts";

const text = optional(z.string());
const flag = optional(z.boolean());

const part = z.looseObject({ type: z.string(), text: z.unknown().optional() });

const message = z.object({
  role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]),
  content: optional(z.union([z.string(), z.array(part)])),
  reasoning_content: text,
  reasoning: text,
  name: text,
  tool_call_id: text,
  tool_calls: optional(
    z.array(
      z.object({
        id: text,
        function: z.object({
          name: z.string(),
          arguments: z
            .union([z.string(), z.record(z.string(), z.unknown())])
            .nullish()
            .transform((value) => value ?? "{}"),
        }),
      }),
    ),
  ),
});

const tool = z.object({
  type: z.literal("function"),
  function: z.looseObject({ name: z.string().min(1), description: text, parameters: z.unknown().optional() }),
});

const named = z.object({ type: z.literal("function"), function: z.object({ name: z.string() }) });

/** Fields that shape the prompt of a chat. */
export const renderFields = {
  messages: z.array(message).min(1, "there are none; send at least one."),
  tools: optional(z.array(tool)),
  tool_choice: optional(z.union([z.enum(["auto", "none", "required"]), named])),
  chat_template_kwargs: optional(z.record(z.string(), z.unknown())),
  add_generation_prompt: flag,
  continue_final_message: flag,
  reasoning_effort: optional(z.union([z.string(), z.number()])),
};

export const chatRequest = z.object({
  ...generationFields,
  ...renderFields,
  logprobs: optional(z.union([z.boolean(), z.number().int()])),
  top_logprobs: optional(z.number().int()),
  parallel_tool_calls: flag,
  thinking_token_budget: optional(z.number().int().min(0)),
  include_reasoning: flag,
});

export type ChatRequest = Sparse<z.infer<typeof chatRequest>>;
export type RenderRequest = Sparse<z.infer<z.ZodObject<typeof renderFields>>>;

/** What a chat request asks of the model. Fails with 400 where it cannot be met. */
export function chatParams(request: ChatRequest, defaults: Readonly<Record<string, unknown>>): ChatParams {
  return {
    ...generateParams(request),
    ...renderParams(request, defaults),
    logprobs: logprobCount(request),
    parallelToolCalls: request.parallel_tool_calls,
    thinkingBudget: request.thinking_token_budget,
  };
}

export function renderParams(request: RenderRequest, defaults: Readonly<Record<string, unknown>>) {
  const tools = request.tools?.length ? (request.tools as readonly Tool[]) : undefined;
  const effort = request.reasoning_effort;
  const variables = { ...defaults, ...request.chat_template_kwargs };
  return {
    tools,
    toolChoice: checkedChoice(request.tool_choice, tools),
    thinking: effort === undefined ? undefined : effort !== "none" && effort !== 0,
    continueFinalMessage: request.continue_final_message,
    addGenerationPrompt: request.add_generation_prompt,
    templateVariables: effort === undefined ? variables : { reasoning_effort: effort, ...variables },
  };
}

function checkedChoice(
  choice: RenderRequest["tool_choice"],
  tools: readonly Tool[] | undefined,
): ToolChoice | undefined {
  if (choice === "required" && !tools) throw invalid("tool_choice", "a call is required, and there are no tools.");
  if (typeof choice === "object" && !tools?.some((tool) => tool.function.name === choice.function.name)) {
    throw invalid("tool_choice", `${JSON.stringify(choice.function.name)} is not among the tools.`);
  }
  return choice;
}

function logprobCount({ logprobs, top_logprobs }: ChatRequest): number | undefined {
  if (typeof logprobs === "number") return logprobs;
  if (logprobs === false) return undefined;
  return top_logprobs ?? (logprobs ? 0 : undefined);
}

/**
 * The messages as templates take them: all instructions in one message in front, since templates of this family refuse
 * them elsewhere, and thoughts under one name.
 */
export function chatMessages(messages: RenderRequest["messages"]): ChatMessage[] {
  const isInstruction = ({ role }: { role: string }) => role === "system" || role === "developer";
  const plain = messages.map(({ role, reasoning, ...rest }) => ({
    ...withoutUndefined(rest),
    role: role === "function" ? "tool" : role,
    content: rest.content ?? null,
    ...(reasoning !== undefined && rest.reasoning_content === undefined && { reasoning_content: reasoning }),
  })) as ChatMessage[];
  if (!plain.slice(1).some(isInstruction)) return plain;
  const content = plain.filter(isInstruction).map((instruction) => contentText(instruction.content));
  return [{ role: "system", content: content.join("\n\n") }, ...plain.filter((other) => !isInstruction(other))];
}

const contentText = (content: ChatMessage["content"]): string =>
  typeof content === "string" ? content : (content ?? []).map(({ text }) => text).join("");

const withoutUndefined = <T extends object>(object: T): T =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
