import type { ChatRequest } from "./chat-request.ts";
import type { GenerationFields } from "./fields.ts";
import { askedFormat } from "./output-format.ts";

/** For requests with the common fields. */
export const generationNames = (fields: GenerationFields): Record<string, string | undefined> => ({
  format: askedFormat(fields)?.field,
  maxTokens: (["max_completion_tokens", "max_tokens", "n_predict"] as const).find((name) => fields[name] !== undefined),
  repetitionPenalty: fields.repetition_penalty === undefined ? "repeat_penalty" : undefined,
});

/** For chats; `schema` is where a tool has that of its parameters. */
export const chatNames = (
  request: ChatRequest,
  schema = "function.parameters",
): Record<string, string | undefined> => ({
  ...generationNames(request),
  logprobs: typeof request.logprobs === "number" ? "logprobs" : "top_logprobs",
  thinking: "reasoning_effort",
  thinkingBudget: "thinking_token_budget",
  ...Object.fromEntries(
    (request.tools ?? []).map((tool, index) => [`tools.${tool.function.name}.parameters`, `tools[${index}].${schema}`]),
  ),
});
