import type { ChatMessage, FinishReason, GenerateParams, Usage } from "sluice";
import type { Problem } from "./problems.ts";

/** A conversation is plain data: what is drawn, what is kept, and what the model reads are all made from it. */
export interface Conversation {
  readonly id: string;
  readonly title: string;
  readonly createdAt: number;
  readonly updatedAt: number;
  readonly systemPrompt: string;
  readonly messages: readonly Message[];
}

export interface Message {
  readonly id: string;
  readonly role: "user" | "assistant";
  /** Of a reply in several rounds, that of the last. */
  readonly text: string;
  readonly createdAt: number;
  /** How the text came about; only replies have it. */
  readonly reply?: Reply;
}

export interface Reply {
  readonly model: string;
  /** What was set by hand; everything else was the model's default. */
  readonly sampling: Sampling;
  readonly ending: "running" | "interrupted" | "error" | FinishReason;
  readonly thoughts?: Thoughts;
  /** Calls without results. */
  readonly calls?: readonly Call[];
  /** What came before: each ended in calls, and the model went on from their results. */
  readonly rounds?: readonly Round[];
  readonly usage?: Usage;
  readonly problem?: Problem;
}

export interface Round {
  readonly thoughts?: Thoughts;
  readonly text: string;
  readonly calls: readonly Call[];
}

export interface Thoughts {
  readonly text: string;
  /** How long they took. */
  readonly ms: number;
}

export interface Call {
  readonly id: string;
  readonly name: string;
  /** JSON, once it is complete. */
  readonly arguments: string;
  /** JSON. */
  readonly result?: string;
}

export type Sampling = Pick<
  GenerateParams,
  | "temperature"
  | "topP"
  | "topK"
  | "minP"
  | "presencePenalty"
  | "frequencyPenalty"
  | "repetitionPenalty"
  | "maxTokens"
  | "seed"
>;

export type ReplyStart = Pick<Reply, "model" | "sampling">;

export function newConversation(systemPrompt: string): Conversation {
  const now = Date.now();
  return { id: crypto.randomUUID(), title: "", createdAt: now, updatedAt: now, systemPrompt, messages: [] };
}

/** A question, and the reply that is about to be written. */
export function turn(text: string, start: ReplyStart): Message[] {
  return [message("user", text), runningReply(start)];
}

export function runningReply(start: ReplyStart): Message {
  return { ...message("assistant", ""), reply: { ...start, ending: "running" } };
}

export function append(conversation: Conversation, added: readonly Message[]): Conversation {
  const messages = [...conversation.messages, ...added];
  const title = conversation.title || titleFrom(messages[0].text);
  return { ...conversation, title, updatedAt: Date.now(), messages };
}

/** Drops a message and all that followed it, and goes on from there. */
export function replaceFrom(conversation: Conversation, messageId: string, added: readonly Message[]): Conversation {
  return append(before(conversation, messageId), added);
}

function changeMessage(
  conversation: Conversation,
  messageId: string,
  change: (message: Message) => Message,
): Conversation {
  return { ...conversation, messages: conversation.messages.map((m) => (m.id === messageId ? change(m) : m)) };
}

export function changeReply(
  conversation: Conversation,
  messageId: string,
  change: Partial<Reply> & { readonly text?: string },
): Conversation {
  const { text, ...reply } = change;
  return changeMessage(conversation, messageId, (m) => ({
    ...m,
    text: text ?? m.text,
    reply: m.reply && { ...m.reply, ...reply },
  }));
}

/**
 * What the model reads to write the reply `messageId`, or to go on with it after its calls. Replies that failed before
 * their first word are left out.
 */
export function promptFor(conversation: Conversation, messageId: string): ChatMessage[] {
  const system = conversation.systemPrompt.trim();
  return [
    ...(system ? [{ role: "system" as const, content: system }] : []),
    ...before(conversation, messageId).messages.flatMap(said),
    ...(conversation.messages.find((m) => m.id === messageId)?.reply?.rounds ?? []).flatMap(roundSaid),
  ];
}

function said({ role, text, reply }: Message): ChatMessage[] {
  const thoughts = reply?.thoughts && { reasoning_content: reply.thoughts.text };
  const last = text === "" ? [] : [{ role, content: text, ...thoughts }];
  return [...(reply?.rounds ?? []).flatMap(roundSaid), ...last];
}

function roundSaid({ thoughts, text, calls }: Round): ChatMessage[] {
  const tool_calls = calls.map(({ id, name, arguments: args }) => ({
    id,
    type: "function" as const,
    function: { name, arguments: args },
  }));
  return [
    { role: "assistant", content: text, tool_calls, ...(thoughts && { reasoning_content: thoughts.text }) },
    ...calls.map(({ id, result = "" }) => ({ role: "tool" as const, tool_call_id: id, content: result })),
  ];
}

export const isRunning = (message: Message) => message.reply?.ending === "running";

/** What the last reply that was finished or stopped has cost. */
export function lastUsage(conversation: Conversation | undefined): Usage | undefined {
  return conversation?.messages.findLast((m) => m.reply?.usage)?.reply?.usage;
}

/** The first words of a first question, cut at a word's end. */
export function titleFrom(text: string): string {
  const line = text.trim().split("\n")[0].replace(/\s+/g, " ");
  if (line.length <= 48) return line || "Untitled";
  return `${line.slice(0, 48).replace(/\s+\S*$/, "")}…`;
}

function before(conversation: Conversation, messageId: string): Conversation {
  const index = conversation.messages.findIndex((m) => m.id === messageId);
  return index < 0 ? conversation : { ...conversation, messages: conversation.messages.slice(0, index) };
}

function message(role: Message["role"], text: string): Message {
  return { id: crypto.randomUUID(), role, text, createdAt: Date.now() };
}
