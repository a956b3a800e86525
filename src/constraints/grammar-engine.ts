import { InvalidRequestError } from "../errors.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { Constraint } from "./constraint.ts";
import { GrammarConstraint } from "./grammar-constraint.ts";
import { GrammarError, GrammarHost, type GrammarVocabulary } from "./grammar-host.ts";
import type { GrammarThread } from "./grammar-messages.ts";
import { GrammarThreads } from "./grammar-threads.ts";
import type { Structure } from "./structure.ts";

export interface GrammarOptions {
  /** Logits of the model, padding included. */
  readonly vocabularySize: number;
  readonly stopIds: readonly number[];
  /** Starts a thread that follows grammars. Without, this thread does, and others wait meanwhile. */
  readonly startThread?: () => GrammarThread;
}

/** Holds replies to a structure, through XGrammar, which is loaded when the first one is asked for. */
export class GrammarEngine {
  readonly #tokenizer: Tokenizer;
  readonly #options: GrammarOptions;
  #host: GrammarHost | undefined;
  #threads: GrammarThreads | undefined;

  constructor(tokenizer: Tokenizer, options: GrammarOptions) {
    this.#tokenizer = tokenizer;
    this.#options = options;
  }

  /**
   * A constraint for one reply; the caller disposes of it.
   *
   * @param field names what was wrong in the request
   * @throws InvalidRequestError where the structure makes no grammar, or, in a thread, takes too long
   */
  async constrain(structure: Structure, field: string): Promise<Constraint> {
    const { startThread } = this.#options;
    if (startThread) {
      this.#threads ??= new GrammarThreads(startThread, this.#vocabulary());
      return this.#threads.constrain(structure, field);
    }
    this.#host ??= new GrammarHost(this.#vocabulary());
    try {
      return new GrammarConstraint(await this.#host.matcher(structure), field);
    } catch (error) {
      if (!(error instanceof GrammarError)) throw error;
      throw new InvalidRequestError(field, `the grammar engine refuses it: ${error.message}`);
    }
  }

  dispose(): void {
    this.#threads?.dispose();
  }

  #vocabulary(): GrammarVocabulary {
    const { vocabularySize, stopIds } = this.#options;
    return { pieces: Array.from({ length: vocabularySize }, (_, id) => this.#tokenizer.piece(id)), stopIds };
  }
}
