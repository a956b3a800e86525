import { marked, type Token, type TokensList } from "marked";

/** One top-level piece of a Markdown text. Its `html` is drawn once and kept while `raw` stays the same. */
export type Block =
  | { readonly kind: "prose"; readonly raw: string }
  | { readonly kind: "code"; readonly raw: string; readonly language: string; readonly code: string };

export interface Parsed {
  readonly text: string;
  readonly blocks: readonly Block[];
}

/**
 * Splits a text into blocks. Where it continues `previous`, only the last block is read again, as no earlier one can
 * change any more: so a growing text costs its tail, and settled blocks stay the same objects.
 */
export function parseBlocks(text: string, previous?: Parsed): Parsed {
  if (previous && text === previous.text) return previous;
  const kept = previous && text.startsWith(previous.text) ? previous.blocks.slice(0, -1) : [];
  const start = kept.reduce((length, { raw }) => length + raw.length, 0);
  return { text, blocks: [...kept, ...blocksOf(marked.lexer(text.slice(start)))] };
}

/** Blank lines go with the block they follow, so that the raw texts add up to the whole. */
function blocksOf(tokens: TokensList): Block[] {
  const blocks: Block[] = [];
  for (const token of tokens) {
    const last = blocks.at(-1);
    if (token.type === "space" && last) blocks[blocks.length - 1] = { ...last, raw: last.raw + token.raw };
    else blocks.push(blockOf(token));
  }
  return blocks;
}

function blockOf(token: Token): Block {
  if (token.type !== "code") return { kind: "prose", raw: token.raw };
  return { kind: "code", raw: token.raw, language: (token.lang ?? "").split(/\s/)[0].toLowerCase(), code: token.text };
}
