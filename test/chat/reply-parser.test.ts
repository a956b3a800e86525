import { describe, expect, it } from "vitest";
import type { CallFormat } from "../../src/chat/chat-format.ts";
import { type ParserOptions, ReplyParser, type ReplyPart } from "../../src/chat/reply-parser.ts";
import { piecesOf } from "./pieces.ts";
import { tools } from "./tools.ts";

function parse(text: string, options: Partial<ParserOptions> = {}) {
  const parser = new ReplyParser({ format: "json", startsThinking: false, tools, ...options });
  const parts: ReplyPart[] = [];
  for (const piece of piecesOf(text)) parts.push(...parser.push([piece]));
  parts.push(...parser.end());
  const calls = parser.toolCalls.map(({ function: { name, arguments: text } }) => [name, text]);
  return { reasoning: parser.reasoning, text: parser.text, calls, parts };
}

const xml = { format: "xml" as CallFormat };

describe("thoughts", () => {
  it.each([
    ["from the prompt's open tag to the first closing one", "Hm.\nYes.\n</think>\n\nFour.", true, "Hm.\nYes.", "Four."],
    ["with the opening tag repeated", "<think>\nHm.</think>Four.", true, "Hm.", "Four."],
    ["opened by the reply itself", "\n<think>\nHm.\n</think>\n\nFour.", false, "Hm.", "Four."],
    ["that never end", "Hm.\nYes.\n\n", true, "Hm.\nYes.", ""],
    ["that are empty", "\n\n</think>\n\nFour.", true, "", "Four."],
    [
      "about tags",
      "Say <think> or <tool_call> or </tool_call>.</think>Four.",
      true,
      "Say <think> or <tool_call> or </tool_call>.",
      "Four.",
    ],
  ])("%s", (_, reply, startsThinking, reasoning, text) => {
    expect(parse(reply, { startsThinking })).toMatchObject({ reasoning, text, calls: [] });
  });

  it("are none where the reply only speaks of them", () => {
    const reply = "The tags are <think> and </think>.\n";
    expect(parse(reply)).toMatchObject({ reasoning: "", text: reply });
  });

  it("end with a call, and do not begin again with the closing tag after it", () => {
    const reply = 'I need it.\n<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>\n</think>\n\nWait.';
    expect(parse(reply, { startsThinking: true })).toMatchObject({
      reasoning: "I need it.",
      text: "Wait.",
      calls: [["f", "{}"]],
    });
  });
});

describe("JSON calls", () => {
  it.each([
    ["plain", '{"name": "f", "arguments": {"city": "Rome"}}', "f", '{"city": "Rome"}'],
    [
      "fields in another order, and others",
      '{"id": 7, "arguments": {"a": [1, {"b": null}]}, "name": "g"}',
      "g",
      '{"a": [1, {"b": null}]}',
    ],
    ["no arguments", '{"name": "f"}', "f", "{}"],
    ["null for arguments", '{"name": "f", "arguments": null}', "f", "{}"],
    ["arguments as text", '{"name": "f", "arguments": "{\\"city\\": \\"Rome\\"}"}', "f", '{"city": "Rome"}'],
    ["empty text for arguments", '{"name": "f", "arguments": ""}', "f", "{}"],
    [
      "numbers as they are written",
      '{"name":"f","arguments":{"a":1.0,"b":12345678901234567890,"c":-2e5}}',
      "f",
      '{"a":1.0,"b":12345678901234567890,"c":-2e5}',
    ],
    [
      "tags and braces in a text",
      '{"name": "f", "arguments": {"city": "}<tool_call>{</tool_call></think>\\"}"}}',
      "f",
      '{"city": "}<tool_call>{</tool_call></think>\\"}"}',
    ],
    ["line breaks in a text", '{"name": "f", "arguments": {"city": "a\nb\tc"}}', "f", '{"city": "a\\nb\\tc"}'],
    [
      "escapes",
      '{"name": "f\\u0041", "arguments": {"city": "\\\\\\ud83d\\ude00"}}',
      "fA",
      '{"city": "\\\\\\ud83d\\ude00"}',
    ],
  ])("%s", (_, body, name, text) => {
    const reply = `Well.\n<tool_call>\n${body}\n</tool_call>`;
    expect(parse(reply)).toMatchObject({ text: "Well.", calls: [[name, text]] });
  });

  it.each([
    ["prose after the tag", "<tool_call> opens a call."],
    ["another format", "<tool_call>\n<function=f>\n</function>\n</tool_call>"],
    ["no name", '<tool_call>\n{"arguments": {}}\n</tool_call>'],
    ["an empty name", '<tool_call>\n{"name": "", "arguments": {}}\n</tool_call>'],
    ["an array of arguments", '<tool_call>\n{"name": "f", "arguments": [1]}\n</tool_call>'],
    ["text for arguments that is no object", '<tool_call>\n{"name": "f", "arguments": "[1]"}\n</tool_call>'],
    ["a brace too many", 'A\n\n<tool_call>\n{"name": "f", "arguments": {}}}\n</tool_call>\n'],
    ["a brace too few", '<tool_call>\n{"name": "f", "arguments": {"a": 1}\n</tool_call>\nSo.'],
    ["a false escape", '<tool_call>\n{"name": "f", "arguments": {"a": "\\d"}}\n</tool_call>'],
    ["a Python word", '<tool_call>\n{"name": "f", "arguments": {"a": True}}\n</tool_call>'],
    ["a name twice", '<tool_call>\n{"name": "f", "name": "g", "arguments": {}}\n</tool_call>'],
    ["cut in a text", 'A\n<tool_call>\n{"name": "f", "arguments": {"a": "b'],
    ["cut before the last brace", '<tool_call>\n{"name": "f", "arguments": {"a": "b"}'],
    ["cut in the name", '<tool_call>\n{"name": "f'],
    ["an end alone", "</tool_call>\n{}"],
  ])("%s is content", (_, reply) => {
    expect(parse(reply)).toMatchObject({ text: reply, calls: [] });
  });
});

describe("XML calls", () => {
  const call = (...lines: string[]) => `<tool_call>\n${lines.join("\n")}\n</tool_call>`;
  it.each([
    ["plain", call("<function=f>", "<parameter=city>", "Rome", "</parameter>", "</function>"), { city: "Rome" }],
    ["on one line", "<tool_call><function=f><parameter=city>Rome</parameter></function></tool_call>", { city: "Rome" }],
    ["no arguments", call("<function=f>", "</function>"), {}],
    [
      "empty values",
      "<tool_call><function=f><parameter=city></parameter><parameter=note>\n</parameter><parameter=x>\n\n</parameter></function>",
      { city: "", note: "", x: "" },
    ],
    [
      "one line break from each end of a value",
      call("<function=f>", "<parameter=city>", "", "a", "", "</parameter>", "</function>"),
      { city: "\na\n" },
    ],
    [
      "a forgotten end of a value",
      call("<function=f>", "<parameter=city>", "Rome", "<parameter=count>", "3", "</function>"),
      { city: "Rome", count: 3 },
    ],
    [
      "tags and quotes in a value",
      call(
        "<function=f>",
        "<parameter=city>",
        'if a < b: "</tool_call>" <parameter=x> </function> \\n',
        "</parameter>",
        "</function>",
      ),
      { city: 'if a < b: "</tool_call>" <parameter=x> </function> \\n' },
    ],
    [
      "types",
      call(
        "<function=f>",
        "<parameter=count>",
        "-12",
        "</parameter>",
        "<parameter=ratio>",
        "2.50",
        "</parameter>",
        "<parameter=isOpen>",
        "True",
        "</parameter>",
        "<parameter=list>",
        '[1, "a"]',
        "</parameter>",
        "<parameter=object>",
        "{'a': None}",
        "</parameter>",
        "</function>",
      ),
      { count: -12, ratio: 2.5, isOpen: true, list: [1, "a"], object: { a: null } },
    ],
    [
      "what is of no allowed type",
      call(
        "<function=f>",
        "<parameter=count>",
        "many",
        "</parameter>",
        "<parameter=isOpen>",
        "yes",
        "</parameter>",
        "<parameter=object>",
        "[1]",
        "</parameter>",
        "</function>",
      ),
      { count: "many", isOpen: "yes", object: "[1]" },
    ],
    [
      "either type",
      call(
        "<function=f>",
        "<parameter=either>",
        "5",
        "</parameter>",
        "<parameter=other>",
        "null",
        "</parameter>",
        "<parameter=pick>",
        "a",
        "</parameter>",
        "</function>",
      ),
      { either: 5, other: null, pick: "a" },
    ],
    [
      "a text that looks like another type",
      call(
        "<function=f>",
        "<parameter=city>",
        "null",
        "</parameter>",
        "<parameter=note>",
        "5",
        "</parameter>",
        "</function>",
      ),
      { city: "null", note: "5" },
    ],
  ])("%s", (_, reply, args) => {
    const { calls, text } = parse(`Well.\n\n${reply}`, xml);
    expect(text).toBe("Well.");
    expect(calls.map(([name, text]) => [name, JSON.parse(text)])).toEqual([["f", args]]);
  });

  it("keeps the digits of a number", () => {
    const reply = "<tool_call><function=f><parameter=count>12345678901234567890</parameter></function></tool_call>";
    expect(parse(reply, xml).calls).toEqual([["f", '{"count": 12345678901234567890}']]);
  });

  it.each([
    ["prose after the tag", "<tool_call> opens a call."],
    ["another format", '<tool_call>\n{"name": "f"}\n</tool_call>'],
    ["a function without a tag", "<function=f>\n</function>"],
    ["no name", call("<function=>", "</function>")],
    ["a line break in the name", call("<function=f", ">", "</function>")],
    ["text between the values", call("<function=f>", "so", "</function>")],
    ["no end of the function", call("<function=f>", "<parameter=city>", "a", "</parameter>")],
    ["cut in a value", "A\n\n<tool_call>\n<function=f>\n<parameter=city>\nRo"],
    ["cut in a tag", "<tool_call>\n<function=f>\n<parame"],
  ])("%s is content", (_, reply) => {
    expect(parse(reply, xml)).toMatchObject({ text: reply, calls: [] });
  });
});

describe("calls", () => {
  const f = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>';
  const g = '<tool_call>\n{"name": "g", "arguments": {"a": 1}}\n</tool_call>';
  const both = [
    ["f", "{}"],
    ["g", '{"a": 1}'],
  ];

  it.each([
    ["one after the other", `${f}\n${g}`, ""],
    ["without line breaks", `${f}${g}`, ""],
    ["with text before, between and after", `A\n${f}\nB\n\n${g}\nC\n`, "A\n\nB\n\n\nC\n"],
    ["without an end, before another", `${f.replace("\n</tool_call>", "")}\n${g}`, ""],
    ["without an end, at the end", `${f}\n${g.replace("</tool_call>", "")}`, ""],
  ])("%s", (_, reply, text) => {
    expect(parse(reply)).toMatchObject({ text, calls: both });
  });

  it("are text where the request has no tools", () => {
    expect(parse(`${f}\n`, { tools: undefined })).toMatchObject({ text: `${f}\n`, calls: [] });
    expect(parse(`${f}\n`, { tools: [] })).toMatchObject({ text: `${f}\n`, calls: [] });
  });

  it("are reported as they come, and withdrawn when they go wrong", () => {
    const { parts, text } = parse('<tool_call>{"name": "f", "arguments": {"a": 1}} or</tool_call>', {
      newId: () => "id",
    });
    const calls = parts.filter((part) => part.kind === "toolCall");
    expect(calls[0]).toEqual({ kind: "toolCall", index: 0, id: "id", name: "f", argumentsDelta: '{"a": 1}' });
    expect(calls.at(-1)).toEqual({ kind: "toolCall", index: 0, id: "id", argumentsDelta: "", isWithdrawn: true });
    expect(text).toBe('<tool_call>{"name": "f", "arguments": {"a": 1}} or</tool_call>');
  });

  it("pass arguments on before they are complete", () => {
    const parser = new ReplyParser({ format: "xml", startsThinking: false, tools });
    const parts = parser.push(piecesOf("<tool_call>\n<function=f>\n<parameter=city>\nSan Fr"));
    expect(parts).toMatchObject([{ kind: "toolCall", name: "f", argumentsDelta: '{"city": "San Fr' }]);
    expect(parser.push([{ text: "anci" }])).toMatchObject([{ kind: "toolCall", argumentsDelta: "anci" }]);
  });
});
