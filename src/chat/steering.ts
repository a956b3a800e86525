import { THINKING_END } from "./chat-format.ts";
import type { ChatPlan } from "./chat-plan.ts";
import { LoopDetector } from "./loop-detector.ts";
import type { ReplyParser } from "./reply-parser.ts";

/** Says where thoughts must end, and a reply goes on with given text instead of the model's. */
export class Steering {
  readonly #plan: ChatPlan;
  readonly #parser: ReplyParser;
  readonly #loops = new LoopDetector();
  #thoughtTokens = 0;
  #endedBy: "loop" | "budget" | undefined;

  constructor(plan: ChatPlan, parser: ReplyParser) {
    this.#plan = plan;
    this.#parser = parser;
  }

  /** Tokens until the thoughts have to end. */
  get tokensLeft(): number {
    const isThinking = this.#parser.isReasoning && !this.#endedBy;
    return isThinking ? this.#plan.thinkingBudget - this.#thoughtTokens : Number.POSITIVE_INFINITY;
  }

  /** Why the thoughts were ended, where the model did not end them. */
  get endedBy(): "loop" | "budget" | undefined {
    return this.#endedBy;
  }

  /** What the reply begins with. */
  begin(): string {
    return this.tokensLeft <= 0 ? this.#endThoughts("budget") : "";
  }

  /** What comes after this token, which the parser has read; undefined leaves it to the model. */
  next(token: number): string | undefined {
    if (!this.#parser.isReasoning) return undefined;
    const isLoop = this.#loops.push(token);
    if (++this.#thoughtTokens >= this.#plan.thinkingBudget) return this.#endThoughts("budget");
    return isLoop ? this.#endThoughts("loop") : undefined;
  }

  #endThoughts(by: "loop" | "budget"): string {
    this.#endedBy = by;
    return THINKING_END;
  }
}
