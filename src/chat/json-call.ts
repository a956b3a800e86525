import type { CallBody } from "./call-body.ts";
import { escapeInString, JsonScanner } from "./json-scanner.ts";

/** `{"name": …, "arguments": {…}}`, its fields in any order. Arguments pass as they are written. */
export class JsonCall implements CallBody {
  name: string | undefined;
  #state: State = "start";
  /** Reads the key or value under way. */
  #scanner = new JsonScanner();
  #raw = "";
  #key = "";
  readonly #keys = new Set<string>();
  #arguments = "";
  #hasArguments = false;

  get isInValue(): boolean {
    return this.#scanner.isInString;
  }

  takeArguments(): string {
    if (this.name === undefined) return "";
    const text = this.#arguments;
    this.#arguments = "";
    return text;
  }

  push(char: string): "open" | "whole" | "wrong" {
    if (this.#raw !== "") return this.#scan(char);
    if (/[ \t\n\r]/.test(char)) return this.#state === "whole" ? "whole" : "open";
    switch (this.#state) {
      case "start":
        return this.#expect(char === "{", "key");
      case "key":
        return char === '"' ? this.#scan(char) : "wrong";
      case "colon":
        return this.#expect(char === ":", "value");
      case "value":
        return this.#scan(char);
      case "comma":
        return char === "}" ? this.#end() : this.#expect(char === ",", "key");
      case "whole":
        return "wrong";
    }
  }

  #expect(isMet: boolean, next: State): "open" | "wrong" {
    this.#state = next;
    return isMet ? "open" : "wrong";
  }

  #scan(char: string): "open" | "whole" | "wrong" {
    const text = this.#scanner.isInString && char < " " ? escapeInString(char) : char;
    const step = this.#scanner.push(char);
    if (step === "wrong") return "wrong";
    if (step !== "past") {
      this.#raw += text;
      if (this.#isStreamed) this.#arguments += text;
    }
    if (step === "more") return "open";
    const isGood = this.#state === "key" ? this.#takeKey() : this.#takeValue();
    this.#raw = "";
    this.#scanner = new JsonScanner();
    if (!isGood) return "wrong";
    return step === "past" ? this.push(char) : "open";
  }

  get #isStreamed(): boolean {
    return this.#state === "value" && this.#key === "arguments" && this.#raw.startsWith("{");
  }

  #takeKey(): boolean {
    this.#key = JSON.parse(this.#raw);
    this.#state = "colon";
    const isNew = !this.#keys.has(this.#key);
    this.#keys.add(this.#key);
    return isNew;
  }

  #takeValue(): boolean {
    const isStreamed = this.#isStreamed;
    this.#hasArguments ||= isStreamed;
    this.#state = "comma";
    if (isStreamed || (this.#key !== "name" && this.#key !== "arguments")) return true;
    const value: unknown = JSON.parse(this.#raw);
    if (this.#key === "name") {
      if (typeof value !== "string" || value === "") return false;
      this.name = value;
      return true;
    }
    // Some models write the text of the arguments, as JSON, where the arguments belong.
    if (typeof value === "string" && value.trim() !== "") {
      this.#arguments = value.trim();
      this.#hasArguments = true;
      return isObject(this.#arguments);
    }
    return value === null || typeof value === "string";
  }

  #end(): "whole" | "wrong" {
    if (this.name === undefined) return "wrong";
    this.#state = "whole";
    if (!this.#hasArguments) this.#arguments = "{}";
    return "whole";
  }
}

type State = "start" | "key" | "colon" | "value" | "comma" | "whole";

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}
