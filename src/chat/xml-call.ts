import type { CallBody } from "./call-body.ts";
import { escapeInString } from "./json-scanner.ts";
import { valueJson, valueTypes } from "./xml-value.ts";

const FUNCTION = "<function=";
const PARAMETER = "<parameter=";
const END = "</function>";

/**
 * What ends a value, with the line break before it. The format closes each value; where a model forgets to, the next
 * tag at the start of a line does.
 */
const VALUE_ENDS = ["</parameter>", "\n</parameter>", `\n${PARAMETER}`, `\n${END}`];

/** `<function=…>`, its parameters, `</function>`. Values become JSON by the types of the tool's schema. */
export class XmlCall implements CallBody {
  name: string | undefined;
  readonly #schemaOf: (name: string) => unknown;
  #state: "start" | "name" | "between" | "key" | "value" | "whole" = "start";
  /** What may yet become a tag; in names, the name so far. */
  #held = "";
  /** What is read of a value. Texts are passed on at once, and only counted here. */
  #value = "";
  #types: ReadonlySet<string> = new Set();
  #isFirst = true;
  #arguments = "";

  /** @param schemaOf the JSON Schema of a function's parameters */
  constructor(schemaOf: (name: string) => unknown) {
    this.#schemaOf = schemaOf;
  }

  get isInValue(): boolean {
    return this.#state === "value";
  }

  takeArguments(): string {
    const text = this.#arguments;
    this.#arguments = "";
    return text;
  }

  push(char: string): "open" | "whole" | "wrong" {
    switch (this.#state) {
      case "start":
        return this.#tag(char, [FUNCTION]);
      case "between":
        return this.#tag(char, [PARAMETER, END]);
      case "name":
      case "key":
        return this.#pushName(char);
      case "value":
        return this.#pushValue(char);
      case "whole":
        return /\s/.test(char) ? "whole" : "wrong";
    }
  }

  #tag(char: string, tags: readonly string[]): "open" | "whole" | "wrong" {
    if (this.#held === "" && /\s/.test(char)) return "open";
    this.#held += char;
    if (tags.includes(this.#held)) return this.#enter(this.#held);
    return tags.some((tag) => tag.startsWith(this.#held)) ? "open" : "wrong";
  }

  #enter(tag: string): "open" | "whole" {
    this.#held = "";
    this.#state = tag === FUNCTION ? "name" : tag === PARAMETER ? "key" : tag === END ? "whole" : "between";
    if (tag !== END) return "open";
    this.#arguments += this.#isFirst ? "{}" : "}";
    return "whole";
  }

  #pushName(char: string): "open" | "wrong" {
    if (char === "<" || char === "\n") return "wrong";
    if (char !== ">") {
      this.#held += char;
      return "open";
    }
    const name = this.#held.trim();
    this.#held = "";
    if (name === "") return "wrong";
    if (this.#state === "name") {
      this.name = name;
      this.#state = "between";
    } else this.#beginValue(name);
    return "open";
  }

  #beginValue(key: string): void {
    this.#arguments += `${this.#isFirst ? "{" : ", "}${JSON.stringify(key)}: `;
    this.#isFirst = false;
    this.#types = valueTypes(this.#schemaOf(this.name!), key);
    if (this.#isText) this.#arguments += '"';
    this.#value = "";
    this.#state = "value";
  }

  get #isText(): boolean {
    return this.#types.size === 1 && this.#types.has("string");
  }

  #pushValue(char: string): "open" | "whole" {
    this.#held += char;
    while (this.#held !== "" && !VALUE_ENDS.some((end) => end.startsWith(this.#held))) this.#passOn();
    if (!VALUE_ENDS.includes(this.#held)) return "open";
    const tag = this.#held.trimStart();
    // The first line break belongs to the opening tag, and with nothing between them to the closing one as well.
    this.#arguments += this.#isText ? '"' : valueJson(this.#value.replace(/^\n/, ""), this.#types);
    return this.#enter(tag);
  }

  #passOn(): void {
    const char = this.#held[0];
    this.#held = this.#held.slice(1);
    const isLeadingBreak = this.#value === "" && char === "\n";
    if (this.#isText && !isLeadingBreak) this.#arguments += escapeInString(char);
    if (!this.#isText || this.#value === "") this.#value += char;
  }
}
