import { describe, expect, it } from "vitest";
import { ReplyLexer } from "../../src/chat/reply-lexer.ts";
import type { Piece } from "../../src/chat/reply-parser.ts";
import { openTokenizer, SPROUT } from "../tokenizer/tokenizers.ts";

const sprout = openTokenizer(SPROUT);
/** The same without tokens for tags. */
const plain = {
  bytes: (id: number) => sprout.bytes(id),
  isSpecial: () => false,
  tokenId: () => undefined,
};

function lex(ids: readonly number[], stop: string[] = [], tokenizer: typeof sprout | typeof plain = sprout) {
  const lexer = new ReplyLexer(tokenizer, { stop, tags: ["call", "endCall"] });
  const pieces = [...ids.flatMap((id) => lexer.push(id)), ...lexer.flush()];
  return { pieces: joined(pieces), stop: lexer.stop };
}

/** Texts next to each other as one. */
function joined(pieces: readonly Piece[]): string[] {
  const all: { text: string; tag: string | undefined }[] = [];
  for (const { text, tag } of pieces) {
    if (tag === undefined && all.length > 0 && all.at(-1)!.tag === undefined) all.at(-1)!.text += text;
    else all.push({ text, tag });
  }
  return all.map(({ text, tag }) => (tag === undefined ? text : `[${tag}]`));
}

const spelled = (tag: string) => [...tag].flatMap((char) => sprout.encode(char));

describe.each([
  ["tokens", sprout],
  ["texts", plain],
])("tags that are %s", (_, tokenizer) => {
  it("stand apart", () => {
    const ids = sprout.encode("A\n<tool_call>\n{}</tool_call><tool_call>");
    expect(lex(ids, [], tokenizer).pieces).toEqual(["A\n", "[call]", "\n{}", "[endCall]", "[call]"]);
  });

  it("stand apart when a stop text could begin in them", () => {
    const ids = sprout.encode("A<tool_call>B");
    expect(lex(ids, [">C", "l>\n"], tokenizer).pieces).toEqual(["A", "[call]", "B"]);
  });

  it.each([
    ["before", "A. End<tool_call>B", "End", ["A. "]],
    ["within", "A<tool_call>B", "_call>B", ["A<tool"]],
    ["as a whole", "A<tool_call>B", "<tool_call>", ["A"]],
    ["after", "A<tool_call>\nB\nC", "\nC", ["A", "[call]", "\nB"]],
  ])("may have a stop text %s", (_, text, stop, pieces) => {
    expect(lex(sprout.encode(text), [stop, "never"], tokenizer)).toEqual({ pieces, stop });
  });

  it("are none where others are asked for", () => {
    expect(lex(sprout.encode("<think>A</think>"), [], tokenizer).pieces).toEqual(["<think>A</think>"]);
  });

  it("end characters that were left unfinished", () => {
    const [first] = sprout.encode("日").length > 1 ? sprout.encode("日") : [sprout.tokenId("æ")!];
    expect(lex([first, ...sprout.encode("<tool_call>")]).pieces).toEqual(["\ufffd", "[call]"]);
  });
});

it("takes a tag spelled in other tokens for text where it is a token", () => {
  expect(lex(spelled("<tool_call>")).pieces).toEqual(["<tool_call>"]);
  expect(lex(spelled("<tool_call>"), [], plain).pieces).toEqual(["[call]"]);
});

it("keeps the start of a tag that does not come", () => {
  expect(lex(sprout.encode("A <tool_cal"), [], plain).pieces).toEqual(["A <tool_cal"]);
});

it("drops tokens that only mark structure", () => {
  expect(lex(sprout.encode("A<|im_end|>B")).pieces).toEqual(["AB"]);
});
