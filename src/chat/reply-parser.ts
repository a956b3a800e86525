import type { ReplyToolCall, Tool } from "../api/types.ts";
import type { CallBody } from "./call-body.ts";
import type { CallFormat } from "./chat-format.ts";
import { JsonCall } from "./json-call.ts";
import { XmlCall } from "./xml-call.ts";

/** The tags that a reply is divided by. */
export const TAGS = { think: "<think>", endThink: "</think>", call: "<tool_call>", endCall: "</tool_call>" } as const;
export type Tag = keyof typeof TAGS;

/** A piece of a reply: some text, or one whole tag. */
export interface Piece {
  readonly text: string;
  readonly tag?: Tag;
}

export type ReplyPart =
  | { readonly kind: "reasoning" | "text"; readonly text: string }
  | {
      readonly kind: "toolCall";
      readonly index: number;
      readonly id: string;
      readonly name?: string;
      readonly argumentsDelta: string;
      readonly isWithdrawn?: true;
    };

export interface ParserOptions {
  /** The tools of the request. Without any, nothing is a call. */
  readonly tools?: readonly Tool[];
  readonly format: CallFormat;
  /** The prompt ends within an open think tag. */
  readonly startsThinking: boolean;
  /** Tells a call from all others. */
  readonly newId?: () => string;
}

/**
 * Divides a reply into thoughts, content and calls while it comes; how it is cut into pieces makes no difference.
 *
 * A call is a call from where its name is known. One that goes wrong later, or is cut, is withdrawn, and all that was
 * written of it is content. Line breaks that only part thoughts, content and calls belong to none of them.
 */
export class ReplyParser {
  readonly #options: ParserOptions;
  /** `start`: before the first visible character, where a model may open its thoughts by itself. */
  #place: "start" | "reasoning" | "content";
  #call: OpenCall | undefined;
  /** Line breaks (at the start: white space) that are shown only if more comes after them. */
  #held = "";
  /** Something stands before the present place that the held line breaks merely set apart. */
  #isApart = false;
  /** The thoughts were ended by a call; their closing tag may follow still. */
  #owesEndThink = false;
  #parts: ReplyPart[] = [];
  #calls = 0;
  /** Of all of the reply so far. */
  reasoning = "";
  text = "";
  readonly toolCalls: ReplyToolCall[] = [];

  constructor(options: ParserOptions) {
    this.#options = options;
    this.#place = options.startsThinking ? "reasoning" : "start";
    this.#isApart = options.startsThinking;
  }

  get isReasoning(): boolean {
    return this.#place === "reasoning";
  }

  /** A call has begun and not ended. */
  get isInCall(): boolean {
    return this.#call !== undefined;
  }

  push(pieces: readonly Piece[]): ReplyPart[] {
    for (const { text, tag } of pieces) {
      if (this.#call) this.#pushCall(text, tag);
      else if (tag) this.#pushTag(text, tag);
      else this.#pushText(text);
    }
    return this.#take();
  }

  /** The reply is over. */
  end(): ReplyPart[] {
    if (this.#call?.isWhole) this.#finishCall();
    else if (this.#call) this.#failCall();
    if (this.#place !== "reasoning" && !this.#isApart) this.#show(this.#held);
    this.#held = "";
    return this.#take();
  }

  #take(): ReplyPart[] {
    const parts = this.#parts;
    this.#parts = [];
    return parts;
  }

  #pushTag(text: string, tag: Tag): void {
    const isAtStart = this.#place === "start" || (this.#place === "reasoning" && this.reasoning === "");
    if (tag === "think" && isAtStart) this.#enter("reasoning");
    else if (tag === "endThink" && this.#place === "reasoning") this.#enter("content");
    else if (tag === "endThink" && this.#owesEndThink) this.#owesEndThink = false;
    else if (tag === "call" && this.#options.tools?.length) this.#call = new OpenCall(text, this.#newBody());
    else this.#pushText(text);
  }

  #enter(place: "reasoning" | "content"): void {
    this.#place = place;
    this.#held = "";
    this.#isApart = true;
  }

  #pushText(text: string): void {
    if (this.#place === "start" && text.trim() === "") {
      this.#held += text;
      return;
    }
    if (this.#place === "start") this.#place = "content";
    const end = this.#holds ? text.replace(/\n+$/, "").length : text.length;
    if (end > 0) {
      const isFirst = this.#isApart && this[this.#kind] === "";
      this.#show(isFirst ? text.slice(0, end).replace(/^\n+/, "") : this.#held + text.slice(0, end));
      this.#held = "";
      this.#isApart = false;
    }
    this.#held += text.slice(end);
  }

  /** Line breaks wait where something may follow that they only set apart. */
  get #holds(): boolean {
    return this.#place === "reasoning" || this.#isApart || Boolean(this.#options.tools?.length);
  }

  get #kind(): "reasoning" | "text" {
    return this.#place === "reasoning" ? "reasoning" : "text";
  }

  #show(text: string): void {
    if (text === "") return;
    const kind = this.#kind;
    this[kind] += text;
    const last = this.#parts.at(-1);
    if (last?.kind === kind) this.#parts[this.#parts.length - 1] = { kind, text: last.text + text };
    else this.#parts.push({ kind, text });
  }

  #newBody(): CallBody {
    if (this.#options.format === "json") return new JsonCall();
    return new XmlCall((name) => this.#options.tools?.find((tool) => tool.function.name === name)?.function.parameters);
  }

  #pushCall(text: string, tag: Tag | undefined): void {
    const call = this.#call!;
    if (tag && !call.body.isInValue) {
      if (call.isWhole && (tag === "call" || tag === "endCall")) this.#finishCall();
      else this.#failCall(tag === "endCall" ? text : "");
      if (tag !== "endCall") this.#pushTag(text, tag);
      return;
    }
    for (let i = 0; i < text.length; i++) {
      call.raw += text[i];
      const step = call.body.push(text[i]);
      if (step === "wrong") {
        this.#failCall();
        this.#pushText(text.slice(i + 1));
        return;
      }
      call.isWhole = step === "whole";
      if (call.id === undefined && call.body.name !== undefined) this.#announce(call);
    }
    this.#report(call);
  }

  #announce(call: OpenCall): void {
    call.id = (this.#options.newId ?? newCallId)();
    call.index = this.#calls++;
    this.#owesEndThink = this.#place === "reasoning";
    if (this.#place === "reasoning") this.#enter("content");
    this.#place = "content";
    this.#parts.push({
      kind: "toolCall",
      index: call.index,
      id: call.id,
      name: call.body.name,
      argumentsDelta: "",
    });
  }

  #report(call: OpenCall): void {
    const { id, index } = call;
    const argumentsDelta = call.body.takeArguments();
    if (id === undefined || argumentsDelta === "") return;
    call.arguments += argumentsDelta;
    const last = this.#parts.at(-1);
    if (last?.kind !== "toolCall" || last.index !== index) {
      this.#parts.push({ kind: "toolCall", index, id, argumentsDelta });
    } else this.#parts[this.#parts.length - 1] = { ...last, argumentsDelta: last.argumentsDelta + argumentsDelta };
  }

  #finishCall(): void {
    const { id, body, arguments: text } = this.#call!;
    this.#call = undefined;
    this.#isApart = true;
    this.toolCalls.push({ id: id!, type: "function", function: { name: body.name!, arguments: text } });
  }

  /** What looked like a call is text: of the content, or of thoughts if these were not known to be over. */
  #failCall(rest = ""): void {
    const { id, index, raw } = this.#call!;
    this.#report(this.#call!);
    this.#call = undefined;
    if (id !== undefined) this.#parts.push({ kind: "toolCall", index, id, argumentsDelta: "", isWithdrawn: true });
    this.#pushText(raw + rest);
  }
}

class OpenCall {
  readonly body: CallBody;
  /** All that was written, from the tag on. */
  raw: string;
  isWhole = false;
  id: string | undefined;
  index = 0;
  arguments = "";

  constructor(tag: string, body: CallBody) {
    this.raw = tag;
    this.body = body;
  }
}

function newCallId(): string {
  return `call_${crypto.randomUUID().replaceAll("-", "").slice(0, 24)}`;
}
