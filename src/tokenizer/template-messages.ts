import type { ChatMessage, ToolCall } from "../api/types.ts";
import { InvalidRequestError } from "../errors.ts";
import { JsonNumber } from "./python-values.ts";

/**
 * A chat as templates expect it: content is one text or null, `developer` is `system`, arguments are objects.
 * Fails with `InvalidRequestError`, which names the message.
 */
export function templateMessages(messages: readonly ChatMessage[]): Record<string, unknown>[] {
  if (messages.length === 0) throw new InvalidRequestError("messages", "there are none. Send at least one.");
  return messages.map((message, i) => {
    const where = `messages[${i}]`;
    if (!ROLES.includes(message.role)) {
      throw new InvalidRequestError(`${where}.role`, `${JSON.stringify(message.role)} is none of ${ROLES.join(", ")}.`);
    }
    return {
      ...message,
      role: message.role === "developer" ? "system" : message.role,
      content: contentText(message.content, `${where}.content`),
      ...(message.tool_calls && {
        tool_calls: message.tool_calls.map((call, j) => toolCall(call, `${where}.tool_calls[${j}]`)),
      }),
    };
  });
}

const ROLES: readonly string[] = ["system", "developer", "user", "assistant", "tool"] satisfies ChatMessage["role"][];

function contentText(content: ChatMessage["content"] | undefined, where: string): string | null {
  if (content === null || content === undefined || typeof content === "string") return content ?? null;
  if (!Array.isArray(content)) throw new InvalidRequestError(where, "must be a text or a list of text parts.");
  return content
    .map((part: { readonly type: string; readonly text?: unknown }, i) => {
      if (part.type === "text" && typeof part.text === "string") return part.text;
      throw new InvalidRequestError(
        `${where}[${i}]`,
        `a part of type ${JSON.stringify(part.type)} cannot be read. These models read text only: send { type: "text", text }.`,
      );
    })
    .join("");
}

function toolCall(call: ToolCall, where: string): unknown {
  if (typeof call.function?.name !== "string") throw new InvalidRequestError(`${where}.function`, "has no name.");
  const { name, arguments: given } = call.function;
  return {
    ...call,
    function: { ...call.function, name, arguments: parseArguments(given, `${where}.function.arguments`) },
  };
}

function parseArguments(given: string | object | undefined, where: string): unknown {
  if (typeof given !== "string") return given ?? {};
  if (given.trim() === "") return {};
  let parsed: unknown;
  try {
    JSON.parse(given);
    parsed = JSON.parse(given.replace(STRING_OR_NUMBER, markNumber), unmark);
  } catch (error) {
    throw new InvalidRequestError(where, `this is no JSON (${(error as Error).message}): ${given.slice(0, 80)}`);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed) || parsed instanceof JsonNumber) {
    throw new InvalidRequestError(where, `must be a JSON object, and is ${given.slice(0, 80)}`);
  }
  return parsed;
}

// JSON.parse would turn 1.0 into 1 and round long integers, and the template would then print another call than the
// model made. Such numbers travel through it as texts with a mark.
const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;
const MARK = "\u0000number ";

function markNumber(token: string): string {
  return token.startsWith('"') || /^-?\d{1,15}$/.test(token) ? token : JSON.stringify(MARK + token);
}

function unmark(_key: string, value: unknown): unknown {
  return typeof value === "string" && value.startsWith(MARK) ? new JsonNumber(value.slice(MARK.length)) : value;
}
