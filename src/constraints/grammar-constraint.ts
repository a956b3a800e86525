import type { GrammarMatcher } from "virtual:xgrammar";
import { invariant } from "../errors.ts";
import { type Constraint, MaskTime } from "./constraint.ts";

/** A reply held to a grammar that is followed in this thread. */
export class GrammarConstraint implements Constraint {
  readonly #matcher: GrammarMatcher;
  readonly #time: MaskTime;
  #accepted = 0;

  /** @param field of the request that the grammar came from, for errors */
  constructor(matcher: GrammarMatcher, field: string) {
    this.#matcher = matcher;
    this.#time = new MaskTime(field);
  }

  prepare(): undefined {}

  mask(reply: readonly number[]): Uint32Array<ArrayBuffer> {
    const start = performance.now();
    const coming = reply.slice(this.#accepted);
    this.#accepted = reply.length;
    const words = nextMask(this.#matcher, coming);
    this.#time.spend(performance.now() - start, coming.length);
    return words;
  }

  dispose(): void {
    this.#matcher.dispose();
  }
}

/** Goes on by tokens, and says which may follow. */
export function nextMask(matcher: GrammarMatcher, tokens: readonly number[]): Uint32Array<ArrayBuffer> {
  for (const token of tokens) {
    invariant(matcher.acceptToken(token), `token ${token} breaks the grammar that allowed it`);
  }
  const words = matcher.getNextTokenBitmask();
  return new Uint32Array(words.buffer, words.byteOffset, words.length);
}
