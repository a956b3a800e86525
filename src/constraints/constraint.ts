import { InvalidRequestError } from "../errors.ts";

/** A reply held to a grammar. */
export interface Constraint {
  /** Told of the reply so far, so that its mask is worked out. A promise where that may take a while. */
  prepare(reply: readonly number[]): Promise<void> | undefined;
  /**
   * The ids that may follow `reply`, which goes on from that of the last call: id i is bit i % 32 of word ⌊i / 32⌋.
   *
   * @throws InvalidRequestError where the grammar takes too long
   */
  mask(reply: readonly number[]): Uint32Array<ArrayBuffer>;
  dispose(): void;
}

/** A mask takes well under a millisecond, but an ambiguous expression can take more with every token. */
const START_MS = 1000;
const TOKEN_MS = 10;

/** The time that a reply's grammar may take. */
export class MaskTime {
  readonly #field: string;
  leftMs = START_MS;

  /** @param field of the request that the grammar came from, for errors */
  constructor(field: string) {
    this.#field = field;
  }

  /** @throws InvalidRequestError where there is none left */
  spend(ms: number, tokens: number): void {
    this.leftMs += TOKEN_MS * tokens - ms;
    if (this.leftMs < 0) throw this.error();
  }

  error(): InvalidRequestError {
    return new InvalidRequestError(this.#field, "it is too ambiguous to follow in time; write it more simply.");
  }
}
