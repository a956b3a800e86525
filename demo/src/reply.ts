import type { ChatParams } from "sluice";
import * as archive from "./archive.ts";
import {
  append,
  type Conversation,
  changeReply,
  type Message,
  newConversation,
  promptFor,
  type Reply,
  type ReplyStart,
  type Round,
  replaceFrom,
  runningReply,
  turn,
} from "./conversation.ts";
import { addConversation, changeConversation } from "./conversations.ts";
import { GrowingRound } from "./growing-round.ts";
import { modelWhenReady } from "./model.ts";
import { currentConversation, keepDraft, page, type Running } from "./page.ts";
import { oncePerFrame } from "./per-frame.ts";
import { problemOf } from "./problems.ts";
import { pageTools, toolName } from "./tools.ts";

/*
 * One reply is written at a time, and goes on when another conversation is looked at. It is a part of its conversation
 * from the start, so what has arrived is kept whatever ends it.
 */

const keepEveryMs = 2000;

export function send(text: string): void {
  if (page.state.running) return;
  const conversation =
    currentConversation(page.state) ?? addConversation(newConversation(page.state.settings.systemPrompt));
  keepDraft(page.state.currentId, "");
  const added = turn(text, start());
  begin(conversation.id, added, (c) => append(c, added));
}

/** Puts another text in place of a question; what followed is dropped, as it answers something else. */
export function resend(messageId: string, text: string): void {
  const added = turn(text, start());
  begin(page.state.currentId, added, (c) => replaceFrom(c, messageId, added));
}

/** Writes a reply anew, and drops what followed it. */
export function regenerate(messageId: string): void {
  const added = [runningReply(start())];
  begin(page.state.currentId, added, (c) => replaceFrom(c, messageId, added));
}

function start(): ReplyStart {
  const { model, settings } = page.state;
  return { model: model.choice?.label ?? "Assistant", sampling: settings.sampling };
}

function begin(conversationId: string | undefined, added: Message[], edit: (c: Conversation) => Conversation): void {
  if (page.state.running || !conversationId) return;
  const messageId = added.at(-1)!.id;
  changeConversation(conversationId, edit);
  page.set({
    currentId: conversationId,
    editingId: undefined,
    announcement: "",
    running: { conversationId, messageId, phase: "waiting", tokens: 0, startedAt: 0, abort: new AbortController() },
  });
  void archive.whileWriting(messageId, () => write(page.state.running!));
}

async function write({ conversationId, messageId, abort: { signal } }: Running): Promise<void> {
  const change = (changes: Partial<Reply> & { text?: string }, options?: { keep: boolean }) =>
    changeConversation(conversationId, (c) => changeReply(c, messageId, changes), options);
  const progress = (changes: Partial<Running>) =>
    page.set(({ running }) => ({ running: running && { ...running, ...changes } }));

  let round = new GrowingRound();
  const rounds: Round[] = [];
  let tokens = 0;
  let startedAt = 0;
  let keptAt = performance.now();
  const draw = oncePerFrame(() => {
    const keep = performance.now() - keptAt > keepEveryMs;
    if (keep) keptAt = performance.now();
    change(round.now(), { keep });
    progress({ phase: "writing", tokens, startedAt });
  });

  let ending: Partial<Reply> = { ending: "interrupted" };
  try {
    const llm = await modelWhenReady(signal);
    const { sampling } = start();
    change({ model: page.state.model.choice?.label, sampling }, { keep: false });
    while (ending.ending === "interrupted") {
      const conversation = page.state.conversations.find(({ id }) => id === conversationId)!;
      const params = { ...chatParams(rounds.length), ...sampling, signal };
      for await (const event of llm.chat(promptFor(conversation, messageId), params)) {
        if (event.kind === "prefill") {
          progress({ phase: "reading", prompt: event });
        } else if (event.kind === "finish") {
          ending = { ending: event.reason, usage: event.usage };
        } else {
          startedAt ||= performance.now();
          tokens += event.tokenIds.length;
          round.take(event);
          draw.request();
        }
      }
      if (ending.ending !== "tool_calls" || signal.aborted) break;
      draw.cancel();
      rounds.push(round.withResults());
      round = new GrowingRound();
      ending = { ending: "interrupted" };
      change({ ...round.now(), rounds });
    }
  } catch (error) {
    ending = signal.aborted ? { ending: "abort" } : { ending: "error", problem: problemOf(error) };
  }
  draw.cancel();
  change({ ...round.now(), ...ending });
  page.set({ running: undefined, announcement: round.now().text });
}

/** After so many rounds of calls the model has to answer with what it knows. */
const mostRounds = 4;

function chatParams(rounds: number): ChatParams {
  const { tools, thinking } = page.state.settings;
  const chosen = pageTools.filter((tool) => tools.includes(toolName(tool))).map(({ tool }) => tool);
  return {
    ...(chosen.length > 0 && { tools: chosen, toolChoice: rounds < mostRounds ? "auto" : "none" }),
    ...(thinking === "never" && { thinking: false }),
  };
}
