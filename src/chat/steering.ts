import { THINKING_END } from "./chat-format.ts";
import type { ChatPlan } from "./chat-plan.ts";
import { LoopDetector } from "./loop-detector.ts";
import type { ReplyParser } from "./reply-parser.ts";

/** Says where a reply goes on with given text instead of the model's: thoughts that must end, a call that must begin. */
export class Steering {
  readonly #plan: ChatPlan;
  readonly #parser: ReplyParser;
  readonly #loops = new LoopDetector();
  #thoughtTokens = 0;
  #isOpened = false;
  /** Thoughts have been brought to their end. */
  #isClosed = false;

  constructor(plan: ChatPlan, parser: ReplyParser) {
    this.#plan = plan;
    this.#parser = parser;
  }

  /** A call is to follow the thoughts. */
  get awaitsThoughts(): boolean {
    return this.#plan.opening !== "" && !this.#isOpened;
  }

  /** Tokens until the thoughts have to end. */
  get tokensLeft(): number {
    const isThinking = this.#parser.isReasoning && !this.#isClosed;
    return isThinking ? this.#plan.thinkingBudget - this.#thoughtTokens : Number.POSITIVE_INFINITY;
  }

  /** What the reply begins with. */
  begin(): string {
    if (this.#parser.isReasoning) return this.#plan.thinkingBudget <= 0 ? this.#endThoughts() : "";
    this.#isOpened = true;
    return this.#plan.opening;
  }

  /** What comes after this token, which the parser has read; undefined leaves it to the model. */
  next(token: number): string | undefined {
    if (this.#parser.isReasoning) {
      const isLoop = this.#loops.push(token);
      return ++this.#thoughtTokens >= this.#plan.thinkingBudget || isLoop ? this.#endThoughts() : undefined;
    }
    if (!this.awaitsThoughts) return undefined;
    this.#isOpened = true;
    return this.#parser.isInCall ? undefined : `\n\n${this.#plan.opening}`;
  }

  #endThoughts(): string {
    const opening = this.#isOpened ? "" : this.#plan.opening;
    this.#isOpened = true;
    this.#isClosed = true;
    return THINKING_END + opening;
  }
}
