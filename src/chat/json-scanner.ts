/**
 * Checks one JSON value that comes character by character. Raw control characters in strings are let through, as models
 * write them; whoever passes the text on has to escape them.
 */
export class JsonScanner {
  /** The objects and arrays that are open. */
  readonly #open: ("{" | "[")[] = [];
  #expected: "value" | "firstValue" | "firstKey" | "key" | "colon" | "comma" = "value";
  #scalar = "";
  /** In a string: 0 for a character of it, 5 after a backslash, else so many hexadecimal digits still to come. */
  #escape = 0;
  #isKey = false;
  /** The next character belongs to a string. */
  isInString = false;

  /** `end` when the character completes the value, `past` when the value was complete before it. */
  push(char: string): "more" | "end" | "past" | "wrong" {
    if (this.isInString) return this.#pushString(char);
    if (this.#scalar !== "") {
      if (/[-+.\w]/.test(char)) {
        this.#scalar += char;
        return "more";
      }
      if (!SCALAR.test(this.#scalar)) return "wrong";
      this.#scalar = "";
      if (this.#close() === "end") return "past";
    }
    if (/[ \t\n\r]/.test(char)) return "more";
    const container = this.#open.at(-1);
    switch (this.#expected) {
      case "comma":
        if (char === (container === "{" ? "}" : "]")) return this.#closeContainer();
        this.#expected = container === "{" ? "key" : "value";
        return char === "," ? "more" : "wrong";
      case "colon":
        this.#expected = "value";
        return char === ":" ? "more" : "wrong";
      case "firstKey":
      case "key":
        if (char === "}" && this.#expected === "firstKey") return this.#closeContainer();
        return char === '"' ? this.#openString(true) : "wrong";
      case "firstValue":
      case "value":
        if (char === "]" && this.#expected === "firstValue") return this.#closeContainer();
        return this.#openValue(char);
    }
  }

  #openValue(char: string): "more" | "wrong" {
    if (char === '"') return this.#openString(false);
    if (char === "{" || char === "[") {
      this.#open.push(char);
      this.#expected = char === "{" ? "firstKey" : "firstValue";
      return "more";
    }
    this.#scalar = char;
    return /[-\dtfn]/.test(char) ? "more" : "wrong";
  }

  #openString(isKey: boolean): "more" {
    this.isInString = true;
    this.#isKey = isKey;
    return "more";
  }

  #pushString(char: string): "more" | "end" | "wrong" {
    if (this.#escape === 5) {
      this.#escape = char === "u" ? 4 : 0;
      return /["\\/bfnrtu]/.test(char) ? "more" : "wrong";
    }
    if (this.#escape > 0) {
      this.#escape--;
      return /[\da-f]/i.test(char) ? "more" : "wrong";
    }
    if (char === "\\") this.#escape = 5;
    if (char !== '"') return "more";
    this.isInString = false;
    if (!this.#isKey) return this.#close();
    this.#expected = "colon";
    return "more";
  }

  #closeContainer(): "more" | "end" {
    this.#open.pop();
    return this.#close();
  }

  /** A value is complete: the whole, or a part of what is open. */
  #close(): "more" | "end" {
    this.#expected = "comma";
    return this.#open.length === 0 ? "end" : "more";
  }
}

const SCALAR = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)$/;

/** A character as it stands in a JSON string. */
export function escapeInString(char: string): string {
  return char === '"' || char === "\\" || char < " " ? JSON.stringify(char).slice(1, -1) : char;
}
