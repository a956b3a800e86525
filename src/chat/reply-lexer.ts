import { StopStrings } from "../tokenizer/stop-strings.ts";
import { TextStream } from "../tokenizer/text-stream.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { type Piece, TAGS, type Tag } from "./reply-parser.ts";

export interface LexerOptions {
  /** Texts that end the reply, wherever they stand; they are not part of it. */
  readonly stop?: string | readonly string[];
  /** Tags to tell from text. */
  readonly tags?: readonly Tag[];
}

/**
 * Token ids as text and tags, up to a stop text. A tag that is a token is known by its id, so that the same characters in
 * other tokens are text; any other is known by its characters.
 */
export class ReplyLexer {
  readonly #stream: TextStream;
  readonly #tokenTags: ReadonlyMap<number, Tag>;
  readonly #textTags: TagText | undefined;
  readonly #stops: StopStrings;
  /** Pieces that may yet belong to a stop text, and how many of their characters do not. */
  readonly #waiting: Piece[] = [];
  #safe = 0;
  /** The stop text that was met. */
  stop: string | undefined;

  constructor(tokenizer: Pick<Tokenizer, "bytes" | "isSpecial" | "tokenId">, { stop, tags = [] }: LexerOptions = {}) {
    const ids = new Map(tags.map((tag) => [tag, tokenizer.tokenId(TAGS[tag])]));
    this.#stream = new TextStream(tokenizer, { skipSpecial: true });
    this.#tokenTags = new Map([...ids].flatMap(([tag, id]) => (id === undefined ? [] : [[id, tag]])));
    const others = tags.filter((tag) => ids.get(tag) === undefined);
    this.#textTags = others.length > 0 ? new TagText(others) : undefined;
    this.#stops = new StopStrings(typeof stop === "string" ? [stop] : (stop ?? []));
  }

  push(token: number): Piece[] {
    if (this.stop !== undefined) return [];
    const tag = this.#tokenTags.get(token);
    if (tag === undefined) return this.#read(this.#stream.push([token]));
    return [...this.#read(this.#stream.flush()), ...this.#read(TAGS[tag], tag)];
  }

  /** The rest, when the reply ends without a stop text. */
  flush(): Piece[] {
    if (this.stop !== undefined) return [];
    const pieces = this.#read(this.#stream.flush());
    this.#safe += this.stop === undefined ? this.#stops.flush().length : 0;
    return [...pieces, ...this.#release(), ...(this.#textTags?.flush() ?? [])];
  }

  #read(text: string, tag?: Tag): Piece[] {
    if (text === "" || this.stop !== undefined) return [];
    this.#waiting.push({ text, tag });
    const found = this.#stops.push(text);
    this.#safe += found.text.length;
    this.stop = found.stop;
    const pieces = this.#release();
    return this.stop === undefined ? pieces : [...pieces, ...(this.#textTags?.flush() ?? [])];
  }

  /** What cannot be part of a stop text. A tag goes whole, unless a stop has cut it. */
  #release(): Piece[] {
    const pieces: Piece[] = [];
    while (this.#waiting.length > 0 && this.#safe > 0) {
      const [{ text, tag }] = this.#waiting;
      const length = Math.min(text.length, this.#safe);
      if (length < text.length && tag !== undefined && this.stop === undefined) break;
      if (length < text.length) this.#waiting[0] = { text: text.slice(length) };
      else this.#waiting.shift();
      this.#safe -= length;
      const part = text.slice(0, length);
      if (tag !== undefined && length === text.length) pieces.push(...(this.#textTags?.flush() ?? []), { text, tag });
      else pieces.push(...(this.#textTags?.push(part) ?? [{ text: part }]));
    }
    return pieces;
  }
}

/** Finds tags by their characters. */
class TagText {
  readonly #tags: ReadonlyMap<string, Tag>;
  #search: StopStrings;
  #held = "";

  constructor(tags: readonly Tag[]) {
    this.#tags = new Map(tags.map((tag) => [TAGS[tag], tag]));
    this.#search = new StopStrings([...this.#tags.keys()]);
  }

  push(text: string): Piece[] {
    const pieces: Piece[] = [];
    for (let rest = text; rest !== ""; ) {
      const found = this.#search.push(rest);
      if (found.text !== "") pieces.push({ text: found.text });
      if (found.stop === undefined) {
        this.#held = (this.#held + rest).slice(found.text.length);
        break;
      }
      pieces.push({ text: found.stop, tag: this.#tags.get(found.stop) });
      rest = (this.#held + rest).slice(found.text.length + found.stop.length);
      this.#search = new StopStrings([...this.#tags.keys()]);
      this.#held = "";
    }
    return pieces;
  }

  flush(): Piece[] {
    const text = this.#search.flush();
    this.#held = "";
    return text === "" ? [] : [{ text }];
  }
}
