/** Characters of a part: some milliseconds of work. */
const PART = 4096;

/** Characters of the parts that are remembered. */
const KEPT = 2 ** 22;

/** Milliseconds after which others get their turn. */
const TURN_MS = 8;

/** What begins a token whatever comes before it: a special one, and in this family a letter behind a line break. */
export interface Cuts {
  readonly specials: readonly string[];
  readonly afterLineBreaks: boolean;
}

/**
 * Encodes long texts in parts. In between others get their turn; and parts are remembered, since a chat comes again with each
 * of its turns.
 */
export class PartEncoder {
  readonly #encode: (text: string) => number[];
  readonly #cut: RegExp;
  /** Longest unused first. */
  readonly #known = new Map<string, { readonly text: string; readonly ids: readonly number[] }>();
  #characters = 0;

  constructor(encode: (text: string) => number[], { specials, afterLineBreaks }: Cuts) {
    this.#encode = encode;
    const places = [
      ...specials.map((text) => `(?=${literal(text)})`),
      ...(afterLineBreaks ? ["(?<=[\\r\\n])(?=\\p{L})"] : []),
    ];
    this.#cut = new RegExp(places.length > 0 ? places.join("|") : "$", "gu");
  }

  async encode(text: string): Promise<number[]> {
    const ids: number[] = [];
    let turnMs = performance.now();
    for (const part of this.#parts(text)) {
      for (const id of this.#idsOf(part)) ids.push(id);
      if (performance.now() - turnMs < TURN_MS) continue;
      await new Promise((resolve) => setTimeout(resolve, 0));
      turnMs = performance.now();
    }
    return ids;
  }

  /** A text that goes on from another has the same parts but for the last of that. */
  *#parts(text: string): Generator<string, void, void> {
    let from = 0;
    while (text.length - from > PART) {
      this.#cut.lastIndex = from + PART;
      const to = this.#cut.exec(text)?.index;
      if (to === undefined) break;
      yield text.slice(from, to);
      from = to;
    }
    yield text.slice(from);
  }

  #idsOf(part: string): readonly number[] {
    if (part.length < PART) return this.#encode(part);
    // A copy, which does not keep all of the text that it is a part of.
    const known = this.#known.get(part) ?? { text: ` ${part}`.slice(1), ids: this.#encode(part) };
    if (!this.#known.delete(part)) this.#characters += part.length;
    this.#known.set(known.text, known);
    for (const oldest of this.#known.keys()) {
      if (this.#characters <= KEPT) break;
      this.#known.delete(oldest);
      this.#characters -= oldest.length;
    }
    return known.ids;
  }
}

const literal = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
