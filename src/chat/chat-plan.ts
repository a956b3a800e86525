import type { ChatParams } from "../api/types.ts";
import { InvalidRequestError } from "../errors.ts";
import { callFormat, callOpening, startsThinking } from "./chat-format.ts";
import type { ParserOptions } from "./reply-parser.ts";

/** How the reply to one chat is read, and what it is made to hold. */
export interface ChatPlan {
  readonly parser: ParserOptions;
  /** What the reply begins with once it has thought; "" leaves that to the model. */
  readonly opening: string;
  /** Tokens of thinking at most. */
  readonly thinkingBudget: number;
  /** The reply ends with its first call. */
  readonly isSingleCall: boolean;
}

/**
 * @param template the source of the chat template, which shows how the model writes calls
 * @param turn the prompt's part of the assistant's turn
 * @throws InvalidRequestError for a call that cannot be made, or a budget that is none
 */
export function chatPlan(params: ChatParams, template: string | undefined, turn: string): ChatPlan {
  const { toolChoice = "auto", thinking, thinkingBudget = Number.POSITIVE_INFINITY } = params;
  const tools = toolChoice === "none" ? [] : (params.tools ?? []);
  if (!(thinkingBudget >= 0)) {
    throw new InvalidRequestError("thinkingBudget", `${thinkingBudget} is not a number of tokens.`);
  }
  const format = callFormat(template);
  return {
    parser: { tools, format, startsThinking: startsThinking(turn) },
    opening: toolChoice === "auto" || toolChoice === "none" ? "" : callOpening(format, requiredName(toolChoice, tools)),
    // Not every template knows how not to think.
    thinkingBudget: thinking === false ? 0 : thinkingBudget,
    isSingleCall: params.parallelToolCalls === false,
  };
}

function requiredName(
  choice: Exclude<ChatParams["toolChoice"], "auto" | "none" | undefined>,
  tools: NonNullable<ChatParams["tools"]>,
): string | undefined {
  if (tools.length === 0) throw new InvalidRequestError("toolChoice", "a call is required, and there are no tools.");
  if (choice === "required") return undefined;
  const name = choice.function?.name;
  if (tools.some((tool) => tool.function.name === name)) return name;
  const names = tools.map((tool) => tool.function.name).join(", ");
  throw new InvalidRequestError("toolChoice", `there is no tool ${JSON.stringify(name)}; there are ${names}.`);
}
