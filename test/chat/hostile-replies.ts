import type { CallFormat } from "../../src/chat/chat-format.ts";
import { random } from "../support/random.ts";

/** A reply made to trip a parser, and what it says to whoever reads it whole. */
export interface HostileReply {
  readonly reply: string;
  readonly startsThinking: boolean;
  readonly reasoning: string;
  readonly text: string;
  readonly calls: readonly { readonly name: string; readonly arguments: Record<string, unknown> }[];
}

/** Where a call stood; line breaks around it belong to nothing unless content stands on both sides. */
const CALL = "\u0000";

export function hostileReply(format: CallFormat, seed: number): HostileReply {
  const next = random(seed);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)];
  const some = <T>(most: number, make: () => T): T[] => Array.from({ length: Math.floor(next() * (most + 1)) }, make);
  const calls: HostileReply["calls"][number][] = [];

  const text = () =>
    pick([...WORDS, ...TRAPS]) + some(3, () => pick([" ", "\n", ""]) + pick([...WORDS, ...TRAPS])).join("");
  /** At the start of a line, this would end an XML value that was not closed. */
  const line = () => text().replace(/^<parameter=/gm, " $&");
  const value = (depth = 0): unknown => {
    if (depth < 3 && next() < 0.25) return some(3, () => value(depth + 1));
    if (depth < 3 && next() < 0.25) return Object.fromEntries(some(3, () => [pick(WORDS), value(depth + 1)]));
    return pick<unknown>([text(), text(), 0, -1.5, 12, true, false, null, ""]);
  };
  const args = (): Record<string, unknown> => {
    if (format === "json")
      return Object.fromEntries(some(4, () => [pick(["city", "count", "list", '"a"', "ü"]), value()]));
    const typed: Record<string, () => unknown> = {
      city: line,
      note: line,
      count: () => pick([0, 7, -3]),
      ratio: () => pick([0.5, 2, -1e-7]),
      isOpen: () => pick([true, false]),
      list: () => some(3, () => value(1)),
      object: () => Object.fromEntries(some(3, () => [pick(WORDS), value(1)])),
      other: () => pick([null, "Zoë"]),
    };
    const keys = Object.keys(typed).filter(() => next() < 0.4);
    return Object.fromEntries(keys.map((key) => [key, typed[key]()]));
  };
  const written = (name: string, given: Record<string, unknown>) => {
    if (format === "json") {
      const space = pick(["\n", "", " "]);
      const json = JSON.stringify(given, undefined, pick([undefined, 2]));
      return `<tool_call>${space}{"name": "${name}", "arguments": ${json}}${space}</tool_call>`;
    }
    const plain = (v: unknown) => (typeof v === "string" ? v : v === true ? "True" : JSON.stringify(v));
    const lines = Object.entries(given).map(([key, v]) => `<parameter=${key}>\n${plain(v)}\n</parameter>\n`);
    return `<tool_call>\n<function=${name}>\n${lines.join("")}</function>\n</tool_call>`;
  };
  const call = () => {
    const made = { name: pick(["f", "g_2", "unknown-tool"]), arguments: args() };
    // Without a schema every value is a text.
    if (format === "xml" && made.name !== "f") made.arguments = { [pick(["a", "b"])]: line() };
    calls.push(made);
    return { reply: written(made.name, made.arguments), shown: CALL };
  };
  const prose = () => {
    const said = text();
    return { reply: said, shown: said };
  };
  const broken = () => {
    const said = pick(BROKEN[format]);
    return { reply: said, shown: said };
  };
  /** A call that stops anywhere before it is complete. */
  const cut = () => {
    const whole = written("f", args());
    const end = whole.lastIndexOf(format === "json" ? "}" : "</function>");
    const said = whole
      .slice(0, "<tool_call>".length + Math.floor(next() * (end - "<tool_call>".length)))
      .replace(/[\ud800-\udbff]$/, "");
    return { reply: said, shown: said };
  };

  const thoughts =
    next() < 0.4
      ? prose()
          .reply.replaceAll("</think>", "")
          .replace(/^\n+|\n+$/g, "")
      : undefined;
  const startsThinking = thoughts !== undefined && next() < 0.5;
  const parts = some(5, () => pick([prose, prose, call, call, broken])());
  if (next() < 0.3) parts.push(cut());
  const gaps = parts.map(() => pick(["\n", "\n\n", "\n"]));
  const join = (what: "reply" | "shown") => parts.map((part, i) => (i > 0 ? gaps[i] : "") + part[what]).join("");

  const opening = thoughts === undefined ? "" : `${startsThinking ? "" : "<think>\n"}${thoughts}\n</think>\n\n`;
  return {
    reply: opening + join("reply"),
    startsThinking,
    reasoning: thoughts ?? "",
    text: withoutCalls(thoughts === undefined ? join("shown") : join("shown").replace(/^\n+/, "")),
    calls,
  };
}

const withoutCalls = (shown: string) =>
  shown
    .replace(new RegExp(`^\\n*(${CALL}\\n*)+`), "")
    .replace(new RegExp(`(\\n*${CALL})+\\n*$`), "")
    .replaceAll(CALL, "");

const WORDS = [
  "The",
  "answer",
  "is 42.",
  "naïve café",
  "日本語のテキスト",
  "👩‍👩‍👧 family",
  "𝕬",
  "x\u0301",
  "\u200d",
  "\ufeff",
  "a\tb",
  "<",
  ">",
  "</",
  "{",
  "}",
  '"',
  "\\",
  "'",
];

/** What looks like markup and is none, in prose as in values. */
const TRAPS = [
  "<tool",
  "<tool_cal",
  "</tool_call",
  "<tool_call >",
  "< tool_call>",
  "<TOOL_CALL>",
  "<think",
  "</thin",
  "<function=f>",
  "<parameter=city>x",
  "{{{",
  "}}}]",
  '{"name": "f", "arguments": {}}',
  '\\"escaped\\" \\\\ \\n',
  "```xml\n<function=f>\n</functio>\n```",
  '```json\n{"a": {"b": [1, {}]}}\n```',
  "`<tool_call` and `</tool_call`",
  "a < b && c > d",
  "null",
];

/** Calls that are none from the tag on, or stop being one before they end. */
const BROKEN: Record<CallFormat, readonly string[]> = {
  json: [
    "`<tool_call>` opens a call, `</tool_call>` closes it",
    "<tool_call>",
    "<tool_call></tool_call>",
    "<tool_call>\n{}\n</tool_call>",
    "<tool_call>\n<function=f>\n</function>\n</tool_call>",
    '<tool_call>{"name": f}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"a": 1}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"a": }}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"a": 1}}}</tool_call>',
    '<tool_call>{"name": "f", "arguments": {"a": 01}}</tool_call>',
    '<tool_call>{"name": "f", "arguments": "no"}</tool_call>',
    '```\n<tool_call>\n{"name": <name>, "arguments": <args>}\n</tool_call>\n```',
  ],
  xml: [
    "`<tool_call>` opens a call, `</tool_call>` closes it",
    "<tool_call>",
    "<tool_call></tool_call>",
    '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>',
    "<tool_call>\n<function>\n</function>\n</tool_call>",
    "<tool_call>\n<function=>\n</function>\n</tool_call>",
    "<tool_call>\n<function=f>\nso\n</function>\n</tool_call>",
    "<tool_call>\n<function=f>\n<parameter=>\n1\n</parameter>\n</function>\n</tool_call>",
    "<tool_call>\n<function=f>\n</tool_call>",
    "<tool_call>\n<function=f>\n</function> so\n</tool_call>",
    "```\n<tool_call>\n<function=\n</tool_call>\n```",
  ],
};
