import type { GrammarMatcher } from "@mlc-ai/web-xgrammar";
import { InvalidRequestError, invariant } from "../errors.ts";
import type { TokenConstraint } from "./token-constraint.ts";

/**
 * Time that a reply's grammar may take: a mask takes well under a millisecond, but an ambiguous expression can take more
 * with every token, and other replies wait meanwhile.
 */
const START_MS = 1000;
const TOKEN_MS = 10;

/** A reply held to a compiled grammar. */
export class GrammarConstraint implements TokenConstraint {
  readonly #matcher: GrammarMatcher;
  readonly #field: string;
  #allowedMs = START_MS;

  /** @param field of the request that the grammar came from, for errors */
  constructor(matcher: GrammarMatcher, field: string) {
    this.#matcher = matcher;
    this.#field = field;
  }

  /** @throws InvalidRequestError where the grammar takes too long */
  async mask(): Promise<Uint32Array> {
    const start = performance.now();
    const words = this.#matcher.isTerminated() ? new Int32Array() : await this.#matcher.getNextTokenBitmask();
    this.#spend(start);
    return new Uint32Array(words.buffer, words.byteOffset, words.length);
  }

  accept(token: number): void {
    const start = performance.now();
    invariant(this.#matcher.acceptToken(token), `token ${token} breaks the grammar that allowed it`);
    this.#allowedMs += TOKEN_MS;
    this.#spend(start);
  }

  dispose(): void {
    this.#matcher.dispose();
  }

  #spend(startMs: number): void {
    this.#allowedMs -= performance.now() - startMs;
    if (this.#allowedMs < 0) {
      throw new InvalidRequestError(this.#field, "it is too ambiguous to follow in time; write it more simply.");
    }
  }
}
