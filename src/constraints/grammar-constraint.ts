import type { GrammarMatcher } from "virtual:xgrammar";
import { InvalidRequestError, invariant } from "../errors.ts";

/**
 * Time that a reply's grammar may take: a mask takes well under a millisecond, but an ambiguous expression can take more
 * with every token, and other replies wait meanwhile.
 */
const START_MS = 1000;
const TOKEN_MS = 10;

/** A reply held to a compiled grammar. */
export class GrammarConstraint {
  readonly #matcher: GrammarMatcher;
  readonly #field: string;
  #accepted = 0;
  #allowedMs = START_MS;

  /** @param field of the request that the grammar came from, for errors */
  constructor(matcher: GrammarMatcher, field: string) {
    this.#matcher = matcher;
    this.#field = field;
  }

  /**
   * The ids that may follow `reply`, which goes on from that of the last call: id i is bit i % 32 of word ⌊i / 32⌋.
   *
   * @throws InvalidRequestError where the grammar takes too long
   */
  mask(reply: readonly number[]): Uint32Array<ArrayBuffer> {
    const start = performance.now();
    for (; this.#accepted < reply.length; this.#accepted++) {
      const token = reply[this.#accepted];
      invariant(this.#matcher.acceptToken(token), `token ${token} breaks the grammar that allowed it`);
      this.#allowedMs += TOKEN_MS;
    }
    const words = this.#matcher.getNextTokenBitmask();
    this.#allowedMs -= performance.now() - start;
    if (this.#allowedMs < 0) {
      throw new InvalidRequestError(this.#field, "it is too ambiguous to follow in time; write it more simply.");
    }
    return new Uint32Array(words.buffer, words.byteOffset, words.length);
  }

  dispose(): void {
    this.#matcher.dispose();
  }
}
