import { type Piece, TAGS, type Tag } from "../../src/chat/reply-parser.ts";

const TAG = new RegExp(`(${Object.values(TAGS).join("|")})`);

/** A text as pieces, as a lexer gives them that is shown the whole of it. */
export function piecesOf(text: string): Piece[] {
  const tags = new Map(Object.entries(TAGS).map(([tag, written]) => [written as string, tag as Tag]));
  return text
    .split(TAG)
    .filter((part) => part !== "")
    .map((part) => ({ text: part, tag: tags.get(part) }));
}
