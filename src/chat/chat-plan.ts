import type { ChatParams } from "../api/types.ts";
import { formatStructure } from "../constraints/output-format.ts";
import { afterThinking, type Structure } from "../constraints/structure.ts";
import { InvalidRequestError } from "../errors.ts";
import { callStructure } from "./call-structure.ts";
import { type CallFormat, callFormat, startsThinking } from "./chat-format.ts";
import type { ParserOptions } from "./reply-parser.ts";

/** How the reply to one chat is read, and what it is held to. */
export interface ChatPlan {
  readonly parser: ParserOptions;
  /** What the reply has to look like; undefined for anything. */
  readonly structure?: Structure;
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
  const parser = { tools, format: callFormat(template), startsThinking: startsThinking(turn) };
  const structure = replyStructure(params, parser.format);
  return {
    parser,
    structure: structure && parser.startsThinking ? afterThinking(structure) : structure,
    // Not every template knows how not to think.
    thinkingBudget: thinking === false ? 0 : thinkingBudget,
    isSingleCall: params.parallelToolCalls === false,
  };
}

/** Calls that are required, a format that calls may take the place of, or calls that have to be right if they come. */
function replyStructure(params: ChatParams, format: CallFormat): Structure | undefined {
  const { tools = [], toolChoice = "auto", parallelToolCalls: parallel = true } = params;
  const calls = (names: typeof tools, required: boolean) => callStructure({ tools: names, format, required, parallel });
  if (toolChoice !== "auto" && toolChoice !== "none") return calls(requiredTools(toolChoice, tools), true);
  const mayCall = toolChoice === "auto" && tools.length > 0;
  if (params.format) {
    const text = formatStructure(params.format);
    return mayCall ? { type: "or", elements: [text, calls(tools, true)] } : text;
  }
  return mayCall && tools.some((tool) => tool.function.strict) ? calls(tools, false) : undefined;
}

function requiredTools(
  choice: Exclude<ChatParams["toolChoice"], "auto" | "none" | undefined>,
  tools: NonNullable<ChatParams["tools"]>,
): NonNullable<ChatParams["tools"]> {
  if (tools.length === 0) throw new InvalidRequestError("toolChoice", "a call is required, and there are no tools.");
  if (choice === "required") return tools;
  const name = choice.function?.name;
  const chosen = tools.filter((tool) => tool.function.name === name);
  if (chosen.length > 0) return chosen;
  const names = tools.map((tool) => tool.function.name).join(", ");
  throw new InvalidRequestError("toolChoice", `there is no tool ${JSON.stringify(name)}; there are ${names}.`);
}
