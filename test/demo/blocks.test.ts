import { describe, expect, it } from "vitest";
import { type Parsed, parseBlocks } from "../../demo/src/blocks.ts";
import { completeMarkup } from "../../demo/src/unfinished.ts";

const text = `# Title

A *paragraph* with \`code\`.
Its second line.

- one

- two
  - nested
    \`\`\`js
    let x = 1;
    \`\`\`

1. first

   its second paragraph

\`\`\`python title
def f():

    return 1
\`\`\`

| a | b |
| - | -: |
| 1 | 2 |

> quoted
> twice

The end.`;

describe("blocks of a growing text", () => {
  it("add up to the text", () => {
    expect(
      parseBlocks(text)
        .blocks.map(({ raw }) => raw)
        .join(""),
    ).toBe(text);
  });

  it.each([1, 2, 7, 40])("are those of the whole text when it comes %i characters at a time", (step) => {
    let parsed: Parsed | undefined;
    for (let end = step; end < text.length + step; end += step) parsed = parseBlocks(text.slice(0, end), parsed);
    expect(parsed!.blocks).toEqual(parseBlocks(text).blocks);
  });

  it("stay the same objects once they are settled", () => {
    const before = parseBlocks(text.slice(0, -4));
    const after = parseBlocks(text, before);
    expect(after.blocks.length).toBe(before.blocks.length);
    for (const [i, block] of before.blocks.slice(0, -1).entries()) expect(after.blocks[i]).toBe(block);
  });

  it("start afresh when the text is another", () => {
    const before = parseBlocks("# One\n\nTwo");
    expect(parseBlocks("Three", before).blocks).toEqual([{ kind: "prose", raw: "Three" }]);
  });

  it("know the language and the text of code, and that its fence may still be open", () => {
    const [block] = parseBlocks("```TS extra\nlet x = 1;\n").blocks;
    expect(block).toMatchObject({ kind: "code", language: "ts", code: "let x = 1;" });
  });
});

describe("markup that is not finished", () => {
  it.each([
    ["a **bold", "a **bold**"],
    ["a **bold** and", "a **bold** and"],
    ["an *italic", "an *italic*"],
    ["some `code", "some `code`"],
    ["`a * b` and", "`a * b` and"],
    ["struck ~~out", "struck ~~out~~"],
    ["a **", "a "],
    ["see [the page](https://exa", "see the page"],
    ["see [the pa", "see the pa"],
    ["see [the page](https://a.b) now", "see [the page](https://a.b) now"],
    ["* an item\n* another", "* an item\n* another"],
    ["2 * 3", "2 * 3"],
    ["snake_case_name", "snake_case_name"],
  ])("%j is drawn as %j", (text, drawn) => {
    expect(completeMarkup(text)).toBe(drawn);
  });
});
