import type { Tokenizer } from "./tokenizer.ts";

/**
 * How many of a text's tokens lie within its first parts, which are given as texts, ascending. A token that a part ends in the
 * middle of is not counted.
 */
export function tokenCounts(
  tokenizer: Pick<Tokenizer, "bytes">,
  text: string,
  ids: readonly number[],
  parts: readonly string[],
): number[] {
  const sizes = ids.map((id) => tokenizer.bytes(id).length);
  const total = sizes.reduce((a, b) => a + b, 0);
  // Most tokenizers of the family compose characters first.
  const isAsWritten = utf8.encode(text).length === total;
  let count = 0;
  let bytes = 0;
  return parts.map((part) => {
    const end = utf8.encode(isAsWritten ? part : part.normalize("NFC")).length;
    while (count < ids.length && bytes + sizes[count] <= end) bytes += sizes[count++];
    return count;
  });
}

const utf8 = new TextEncoder();
