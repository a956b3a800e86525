import type { LanguageModel } from "../api/llm-interface.ts";
import type { ChatMessage, ChatParams, FinishReason, GenerationEvent, ReplyToolCall, Usage } from "../api/types.ts";
import { bytesText, rateText, table } from "./text.ts";

/**
 * A chat in a terminal: messages and commands go in as lines, replies come out as they are drawn. After a call, the next
 * line is its result.
 */
export class Conversation {
  readonly #llm: LanguageModel;
  readonly #params: ChatParams;
  readonly #write: (text: string) => void;
  #system: string | undefined;
  #turns: ChatMessage[] = [];
  /** Calls of the last reply that have no result yet. */
  #calls: ReplyToolCall[] = [];
  #usage: Usage | undefined;
  #reply: AbortController | undefined;
  /** Replies to the present message so far; each draws with a seed of its own. */
  #attempts = 0;

  constructor(llm: LanguageModel, params: ChatParams, system: string | undefined, write: (text: string) => void) {
    this.#llm = llm;
    this.#params = params;
    this.#system = system;
    this.#write = write;
  }

  /** Does what a line says. False when that is to leave. */
  async take(line: string): Promise<boolean> {
    const text = line.trim();
    // A path begins with a slash as well, and goes on with another.
    const [, name, rest] = /^\/([a-z]*)(?:\s+(.*))?$/.exec(text) ?? [];
    if (name !== undefined) return this.#command(name, rest);
    if (text === "") return true;
    const call = this.#calls.shift();
    this.#turns.push(call ? { role: "tool", tool_call_id: call.id, content: text } : { role: "user", content: text });
    this.#attempts = 0;
    if (this.#calls.length > 0) this.#askForResult();
    else await this.#answer();
    return true;
  }

  /** Stops the reply under way. False when there is none. */
  stop(): boolean {
    const isReplying = this.#reply !== undefined;
    this.#reply?.abort();
    return isReplying;
  }

  async #command(name: string, rest = ""): Promise<boolean> {
    switch (name) {
      case "help":
        this.#write(`${HELP}\n`);
        return true;
      case "clear":
        this.#forget();
        this.#write("The conversation is empty.\n");
        return true;
      case "regenerate":
        await this.#regenerate();
        return true;
      case "system":
        this.#system = rest || undefined;
        this.#forget();
        this.#write(
          `${rest ? "The system prompt is set" : "There is no system prompt"}, and the conversation is empty.\n`,
        );
        return true;
      case "stats":
        this.#write(`${this.#stats()}\n`);
        return true;
      case "exit":
        return false;
      default:
        this.#write(`There is no /${name}; /help lists what there is.\n`);
        return true;
    }
  }

  async #regenerate(): Promise<void> {
    const last = this.#turns.findLastIndex(({ role }) => role === "assistant");
    if (last < 0) return this.#write("There is no message to answer yet.\n");
    this.#turns.length = last;
    this.#calls = [];
    this.#attempts++;
    await this.#answer();
  }

  /** Answers the last message. Where that fails, the message is taken back. */
  async #answer(): Promise<void> {
    const { seed } = this.#params;
    this.#reply = new AbortController();
    const params = {
      ...this.#params,
      seed: seed === undefined ? undefined : seed + this.#attempts,
      signal: this.#reply.signal,
    };
    const system: ChatMessage[] = this.#system === undefined ? [] : [{ role: "system", content: this.#system }];
    try {
      let last: GenerationEvent["kind"] | undefined;
      for await (const event of this.#llm.chat([...system, ...this.#turns], params)) {
        this.#show(event, last);
        last = event.kind;
        if (event.kind !== "finish") continue;
        const { text, reasoning, toolCalls = [], usage } = event;
        this.#turns.push({
          role: "assistant",
          content: text,
          ...(reasoning && { reasoning_content: reasoning }),
          ...(toolCalls.length > 0 && { tool_calls: toolCalls }),
        });
        this.#calls = [...toolCalls];
        this.#usage = usage;
      }
      if (this.#calls.length > 0) this.#askForResult();
    } catch (error) {
      this.#turns.pop();
      throw error;
    } finally {
      this.#reply = undefined;
    }
  }

  /** Thoughts stand out dimmed, calls as what a program would write. */
  #show(event: GenerationEvent, last: GenerationEvent["kind"] | undefined): void {
    if (last === "reasoning" && event.kind !== "reasoning") this.#write(`${PLAIN}\n\n`);
    if (event.kind === "reasoning") this.#write(last === "reasoning" ? event.text : DIM + event.text);
    if (event.kind === "text") this.#write(event.text);
    if (event.kind !== "finish") return;
    const calls = (event.toolCalls ?? []).map(({ function: { name, arguments: args } }) => `→ ${name}(${args})`);
    this.#write((event.text !== "" && calls.length > 0 ? "\n" : "") + calls.join("\n") + ENDINGS[event.reason]);
  }

  #askForResult(): void {
    this.#write(`[the next line is the result of ${this.#calls[0].function.name}]\n`);
  }

  #forget(): void {
    this.#turns = [];
    this.#calls = [];
  }

  #stats(): string {
    if (!this.#usage) return "There is no reply to measure yet.";
    const usage = this.#usage;
    return table(
      [
        ["prompt", `${usage.promptTokens} tokens, ${usage.cachedTokens} of them known from before`],
        ["reply", `${usage.completionTokens} tokens`],
        ["first token", `after ${Math.round(usage.timeToFirstTokenMs)} ms`],
        ["prefill", `${rateText(usage.prefillTokensPerSecond)} tokens/s`],
        ["decode", `${rateText(usage.decodeTokensPerSecond)} tokens/s`],
        ["memory", bytesText(this.#llm.info.memory.total)],
      ],
      { left: [0, 1] },
    );
  }
}

const ENDINGS: Record<FinishReason, string> = {
  stop: "\n",
  tool_calls: "\n",
  abort: " [stopped]\n",
  length: " [cut at its maximum length]\n",
};

const DIM = "\x1b[2m";
const PLAIN = "\x1b[22m";

const HELP = table(
  [
    ["/help", "this list"],
    ["/regenerate", "another reply to the last message"],
    ["/clear", "begin again"],
    ["/system TEXT", "set the system prompt, and begin again; without a text, have none"],
    ["/stats", "how long the last reply took"],
    ["/exit", "leave; Ctrl-D does, too"],
  ],
  { left: [0, 1] },
);
