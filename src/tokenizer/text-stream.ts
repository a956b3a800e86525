import type { Tokenizer } from "./tokenizer.ts";

/**
 * Decodes token ids as they come, and never splits a character: bytes of an unfinished one wait for the next token.
 * All that `push` and `flush` return, joined, is what `Tokenizer.decode` says of all ids, however they were split.
 */
export class TextStream {
  readonly #tokenizer: Pick<Tokenizer, "bytes" | "isSpecial">;
  readonly #skipSpecial: boolean;
  /** A byte order mark is text like any other. */
  readonly #utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

  /** `skipSpecial` leaves out tokens such as `<|im_end|>`. Default false. */
  constructor(tokenizer: Pick<Tokenizer, "bytes" | "isSpecial">, options: { skipSpecial?: boolean } = {}) {
    this.#tokenizer = tokenizer;
    this.#skipSpecial = options.skipSpecial ?? false;
  }

  /** The text that these tokens complete; may be "". */
  push(ids: readonly number[]): string {
    let text = "";
    for (const id of ids) {
      if (this.#skipSpecial && this.#tokenizer.isSpecial(id)) continue;
      text += this.#utf8.decode(this.#tokenizer.bytes(id), { stream: true });
    }
    return text;
  }

  /** U+FFFD where the last character was left unfinished, else "". Afterwards the stream is as new. */
  flush(): string {
    return this.#utf8.decode();
  }
}
