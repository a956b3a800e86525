import type { ChatParams, GenerationEvent, ReplyTokens } from "../api/types.ts";
import { HttpError } from "./http-error.ts";

type CallEvent = Extract<GenerationEvent, { kind: "toolCall" }>;

/**
 * The events of a reply whose calls stand: a client that has been told of a call cannot be told to forget it. So calls
 * that may still turn out to be malformed, and be text, are held until they are whole, and numbered anew.
 *
 * Those that a grammar holds (`areFirm`) come as they are written. Only a reply that is cut leaves one unfinished, which
 * its `length` tells.
 */
export async function* standingCalls(
  events: AsyncIterable<GenerationEvent>,
  areFirm: boolean,
): AsyncGenerator<GenerationEvent, void, void> {
  if (areFirm) return yield* firmCalls(events);
  let held: CallEvent[] = [];
  let calls = 0;
  /** Tokens of what was no call: they are those of the text that follows. */
  let lost: ReplyTokens[] = [];
  for await (const event of events) {
    if (event.kind === "toolCall" && event.isWithdrawn) {
      lost = [...lost, ...held, event];
      held = [];
      continue;
    }
    if (held.length > 0 && !(event.kind === "toolCall" && event.index === held[0].index)) {
      for (const part of held) yield { ...part, index: calls };
      held = [];
      calls++;
    }
    if (event.kind === "toolCall") held.push(event);
    else if (event.kind === "text" && lost.length > 0) {
      yield { ...event, ...joined([...lost, event]) };
      lost = [];
    } else yield event;
  }
}

/** Whether a grammar holds all calls of the reply to the tools' schemas. */
export const hasFirmCalls = ({ tools = [], toolChoice = "auto", format }: ChatParams): boolean =>
  toolChoice !== "auto" || format !== undefined || tools.some((tool) => tool.function.strict);

async function* firmCalls(events: AsyncIterable<GenerationEvent>): AsyncGenerator<GenerationEvent, void, void> {
  let isCut = false;
  for await (const event of events) {
    if (event.kind === "toolCall" && event.isWithdrawn) isCut = true;
    else if (!isCut) yield event;
    else if (event.kind === "finish") {
      if (event.reason !== "length" && event.reason !== "abort") throw malformed();
      yield event;
    }
  }
}

/** Only a call from within thoughts, which no grammar holds, or one with a stop text in it. */
const malformed = (): HttpError =>
  new HttpError("The model broke off the call that it was writing.", { status: 500, code: "malformed_call" });

function joined(parts: readonly ReplyTokens[]): ReplyTokens {
  const tokenIds = parts.flatMap((part) => part.tokenIds);
  if (!parts.some(({ logprobs }) => logprobs)) return { tokenIds };
  return { tokenIds, logprobs: parts.flatMap(({ logprobs }) => logprobs ?? []) };
}
