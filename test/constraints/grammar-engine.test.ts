import { readFile } from "node:fs/promises";
import { beforeAll, describe, expect, it } from "vitest";
import { callStructure } from "../../src/chat/call-structure.ts";
import { GrammarEngine } from "../../src/constraints/grammar-engine.ts";
import { formatStructure } from "../../src/constraints/output-format.ts";
import { afterThinking, type Structure } from "../../src/constraints/structure.ts";
import { InvalidRequestError } from "../../src/errors.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";

const VOCABULARY = 8256;
let tokenizer: Tokenizer;
let engine: GrammarEngine;
let stopId: number;

beforeAll(async () => {
  const read = async (name: string) => JSON.parse(await readFile(`demo/public/models/sprout/${name}`, "utf8"));
  tokenizer = new Tokenizer(
    { json: await read("tokenizer.json"), config: await read("tokenizer_config.json") },
    "sprout",
  );
  stopId = tokenizer.tokenId("<|im_end|>")!;
  engine = new GrammarEngine(tokenizer, { vocabularySize: VOCABULARY, stopIds: [stopId] });
});

/** Whether a reply may be this text: `whole` and end there, `part` of one, or `refused` before its end. */
async function verdict(structure: Structure, text: string): Promise<"whole" | "part" | "refused"> {
  const constraint = await engine.constrain(structure, "format");
  const allows = (mask: Uint32Array, id: number) => ((mask[id >>> 5] >>> (id & 31)) & 1) === 1;
  try {
    const ids = tokenizer.encode(text);
    for (const [i, id] of ids.entries()) {
      if (!allows(constraint.mask(ids.slice(0, i)), id)) return "refused";
    }
    return allows(constraint.mask(ids), stopId) ? "whole" : "part";
  } finally {
    constraint.dispose();
  }
}

describe("a reply's format", () => {
  const schema = {
    type: "object",
    properties: { name: { type: "string" }, age: { type: "integer" } },
    required: ["name", "age"],
  };
  it.each([
    ["json", { kind: "json" }, '{"a": [1, {"b": null}]}', "whole"],
    ["json", { kind: "json" }, "[1]", "refused"],
    ["json", { kind: "json" }, '{"a": 1', "part"],
    ["json", { kind: "json" }, '{"a": "<|im_start|>"}', "refused"],
    ["schema", { kind: "schema", schema }, '{"name": "Ünsal 東京", "age": 7}', "whole"],
    ["schema", { kind: "schema", schema }, '{"name": "a", "age": "7"}', "refused"],
    ["schema", { kind: "schema", schema }, '{"name": "a"}', "refused"],
    ["regex", { kind: "regex", pattern: "(red|green) [0-9]{2}" }, "green 42", "whole"],
    ["regex", { kind: "regex", pattern: "(red|green) [0-9]{2}" }, "green 421", "refused"],
    ["choice", { kind: "choice", choices: ["yes", 'no, "never"'] }, 'no, "never"', "whole"],
    ["choice", { kind: "choice", choices: ["yes", "no"] }, "maybe", "refused"],
    ["grammar", { kind: "grammar", grammar: 'root ::= "a" b+ "é"\nb ::= [0-9] ","' }, "a1,2,é", "whole"],
  ] as const)("%s %o: %s is %s", async (_, format, text, expected) => {
    expect(await verdict(formatStructure(format), text)).toBe(expected);
  });

  it("begins after the thoughts that are open", async () => {
    const structure = afterThinking(formatStructure({ kind: "json" }));
    expect(await verdict(structure, "Let me see {x")).toBe("part");
    expect(await verdict(structure, 'Well.\n</think>\n\n{"a": 1}')).toBe("whole");
    expect(await verdict(structure, "Well.\n</think>\n\nSure")).toBe("refused");
  });
});

describe("calls of tools", () => {
  const tool = (name: string, parameters: unknown) => ({ type: "function", function: { name, parameters } }) as const;
  const tools = [
    tool("add", {
      type: "object",
      properties: {
        a: { $ref: "#/$defs/count" },
        note: { type: "string" },
        unit: { enum: ["km", "nautical mile"] },
        list: { type: "array", items: { $ref: "#/$defs/count" } },
      },
      required: ["note"],
      $defs: { count: { type: "integer" } },
    }),
    tool("now", undefined),
  ];
  const xml = (...lines: string[]) =>
    ["<tool_call>", "<function=add>", ...lines, "</function>", "</tool_call>"].join("\n");
  const note = (text: string) => `<parameter=note>\n${text}\n</parameter>`;
  const now = "<tool_call>\n<function=now>\n</function>\n</tool_call>";
  const all = { tools, format: "xml", required: true, parallel: true } as const;

  it.each([
    ["texts stand as they are", xml(note('a < b & "c"\n</p>\n\nd')), "whole"],
    ["enumerations", xml(note("x"), "<parameter=unit>\nnautical mile\n</parameter>"), "whole"],
    ["other words than an enumeration's", xml(note("x"), "<parameter=unit>\nmiles\n</parameter>"), "refused"],
    ["definitions", xml(note("x"), "<parameter=list>\n[1, 2]\n</parameter>"), "whole"],
    ["another type", xml(note("x"), "<parameter=list>\n[true]\n</parameter>"), "refused"],
    ["a parameter left out that is required", xml(), "refused"],
    ["no parameters", now, "whole"],
    ["several calls", `${now}\n${xml(note("x"))}`, "whole"],
    ["prose", "Sure.", "refused"],
    ["another function", "<tool_call>\n<function=rm>\n", "refused"],
  ] as const)("in XML, required: %s", async (_, text, expected) => {
    expect(await verdict(callStructure(all), text)).toBe(expected);
  });

  it("stops after the first call where they may not be parallel", async () => {
    expect(await verdict(callStructure({ ...all, parallel: false }), now)).toBe("whole");
    expect(await verdict(callStructure({ ...all, parallel: false }), `${now}\n${now}`)).toBe("refused");
  });

  it("leaves prose alone where calls are optional, and holds those that come to their form", async () => {
    const structure = callStructure({ ...all, required: false });
    expect(await verdict(structure, "Sure, <b>this</b> is 1 < 2.")).toBe("whole");
    expect(await verdict(structure, `Let me see.\n${now}`)).toBe("whole");
    expect(await verdict(structure, "<tool_call>\n<function=rm>")).toBe("refused");
  });

  it("in JSON", async () => {
    const structure = callStructure({ ...all, format: "json" });
    const call = (body: string) => `<tool_call>\n${body}\n</tool_call>`;
    expect(await verdict(structure, call('{"name": "add", "arguments": {"note": "x"}}'))).toBe("whole");
    expect(await verdict(structure, call('{"name": "now", "arguments": {}}'))).toBe("whole");
    expect(await verdict(structure, call('{"name": "rm", "arguments": {}}'))).toBe("refused");
  });
});

describe("what makes no grammar", () => {
  it.each([
    ["a pattern left open", { kind: "regex", pattern: "(red" }, /parenthesis/],
    ["an unknown type", { kind: "schema", schema: { type: "frob" } }, /Unsupported type/],
    ["a rule that is missing", { kind: "grammar", grammar: 'root ::= "a" foo' }, /foo/],
    ["an empty range", { kind: "schema", schema: { type: "integer", minimum: 5, maximum: 1 } }, /minimum/],
    ["a schema that is none", { kind: "schema", schema: "x" }, /no JSON Schema/],
    ["a long pattern", { kind: "regex", pattern: "a".repeat(5000) }, /too many/],
    ["no choices", { kind: "choice", choices: [] }, /list of texts/],
    ["another kind", { kind: "yaml" }, /none of json/],
  ] as const)("%s is refused, and the next format works", async (_, format, message) => {
    const refused = async () => engine.constrain(formatStructure(format as never), "format");
    await expect(refused()).rejects.toThrow(InvalidRequestError);
    await expect(refused()).rejects.toThrow(message);
    expect(await verdict(formatStructure({ kind: "json" }), "{}")).toBe("whole");
  });

  it("is nested too deeply", async () => {
    let schema: object = { type: "string" };
    for (let i = 0; i < 300; i++) schema = { type: "object", properties: { [`k${i}`]: schema } };
    await expect(engine.constrain(formatStructure({ kind: "schema", schema }), "format")).rejects.toThrow(/refuses/);
    expect(await verdict(formatStructure({ kind: "json" }), "{}")).toBe("whole");
  });

  it("is too ambiguous to follow", async () => {
    const structure = formatStructure({ kind: "regex", pattern: "((a|b|c|d)*(a|b)*)*x" });
    await expect(verdict(structure, "ab".repeat(400))).rejects.toThrow(/ambiguous/);
  });
});
