import { ReplyLexer } from "../chat/reply-lexer.ts";
import { type ParserOptions, ReplyParser, type ReplyPart } from "../chat/reply-parser.ts";
import type { Sampled } from "../engine/runner.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { tokenLogprobs, tokenText } from "./logprobs.ts";
import type { GenerateParams, GenerationEvent, ReplyTokens, ScoredToken } from "./types.ts";

type PartEvent = Extract<GenerationEvent, { tokenIds: unknown; kind: "reasoning" | "text" | "toolCall" }>;

/** Tokens of a reply as events: text up to a stop text, and, with `parser`, thoughts and calls. */
export class ReplyEvents {
  readonly #tokenizer: Tokenizer | undefined;
  readonly #params: GenerateParams;
  readonly #lexer: ReplyLexer | undefined;
  readonly parser: ReplyParser | undefined;
  /** Tokens that no event has reported yet. */
  #pending: { tokenIds: number[]; logprobs: ScoredToken[] } = { tokenIds: [], logprobs: [] };
  #last: ReplyPart = { kind: "text", text: "" };
  #text = "";
  readonly tokenIds: number[] = [];
  reasoningTokens = 0;

  constructor(tokenizer: Tokenizer | undefined, params: GenerateParams, parser: ParserOptions | undefined) {
    this.#tokenizer = tokenizer;
    this.#params = params;
    this.parser = parser && new ReplyParser(parser);
    const callTags = parser?.tools?.length ? (["call", "endCall"] as const) : [];
    const tags = parser ? (["think", "endThink", ...callTags] as const) : [];
    this.#lexer = tokenizer && new ReplyLexer(tokenizer, { stop: params.stop, tags });
  }

  /** The stop text that was met. */
  get stop(): string | undefined {
    return this.#lexer?.stop;
  }

  get text(): string {
    return this.parser?.text ?? this.#text;
  }

  /** Takes a token that was drawn, or, without `sampled`, given. */
  push(token: number, sampled?: Sampled): PartEvent[] {
    const { logprobs } = this.#params;
    const wasReasoning = this.parser?.isReasoning ?? false;
    if (wasReasoning) this.reasoningTokens++;
    this.tokenIds.push(token);
    this.#pending.tokenIds.push(token);
    if (logprobs !== undefined) this.#pending.logprobs.push(this.#scored(token, logprobs, sampled));
    if (!this.#lexer) return [this.#event({ kind: "text", text: "" })];
    const parts = this.#parts(this.#lexer.push(token));
    // The tag that ends thoughts belongs to them.
    if (wasReasoning && !this.parser!.isReasoning && parts.length === 0) parts.push({ kind: "reasoning", text: "" });
    return parts.map((part) => this.#event(part));
  }

  /** The reply is over. */
  end(): PartEvent[] {
    const parts = [...this.#parts(this.#lexer?.flush() ?? []), ...(this.parser?.end() ?? [])];
    if (parts.length === 0 && this.#pending.tokenIds.length > 0) {
      const { kind } = this.#last;
      if (kind !== "toolCall") parts.push({ kind, text: "" });
      else parts.push({ kind, index: this.#last.index, id: this.#last.id, argumentsDelta: "" });
    }
    return parts.map((part) => this.#event(part));
  }

  #parts(pieces: ReturnType<ReplyLexer["push"]>): ReplyPart[] {
    if (this.parser) return this.parser.push(pieces);
    const text = pieces.map((piece) => piece.text).join("");
    this.#text += text;
    return text === "" ? [] : [{ kind: "text", text }];
  }

  #event(part: ReplyPart): PartEvent {
    const { tokenIds, logprobs } = this.#pending;
    const tokens: ReplyTokens = this.#params.logprobs === undefined ? { tokenIds } : { tokenIds, logprobs };
    this.#pending = { tokenIds: [], logprobs: [] };
    this.#last = part;
    return { ...part, ...tokens };
  }

  /** A token that was given was certain. */
  #scored(token: number, count: number, sampled: Sampled | undefined): ScoredToken {
    const text = tokenText(this.#tokenizer);
    if (!sampled) return { id: token, ...text(token), logprob: 0, top: [] };
    return tokenLogprobs(sampled.logits!, token, count, text);
  }
}
