import { Environment } from "@huggingface/jinja";

/** A value inside a running template. The library keeps its value classes to itself; its environment makes them. */
export type Value = ReturnType<Environment["set"]>;

/** A number as a JSON text spells it: Python tells 1.0 from 1, and counts beyond 2^53. */
export class JsonNumber {
  constructor(readonly literal: string) {}
}

/** The template's value for plain data. */
export function toValue(data: unknown): Value {
  if (data instanceof JsonNumber) {
    return /[.eE]/.test(data.literal) ? new FloatValue(Number(data.literal)) : new IntegerValue(BigInt(data.literal));
  }
  if (Array.isArray(data)) return new ArrayValue(data.map(toValue));
  if (typeof data === "object" && data !== null) {
    return new ObjectValue(new Map(Object.entries(data).map(([key, entry]) => [key, toValue(entry)])));
  }
  return fromLibrary(data);
}

/** Python's `str(value)`, which is also what `{{ value }}` prints. */
export function str(value: Value): string {
  if (value.type === "UndefinedValue") return "";
  return value.type === "StringValue" ? (value.value as string) : repr(value);
}

/** Python's `json.dumps(value, ensure_ascii=False)`. */
export function json(value: Value): string {
  switch (value.type) {
    case "IntegerValue":
      return String(value.value);
    case "FloatValue":
      return float(value.value as number);
    case "ArrayValue":
    case "TupleValue":
      return `[${(value.value as Value[]).map(json).join(", ")}]`;
    case "ObjectValue":
      return `{${entries(value)
        .map(([key, entry]) => `${JSON.stringify(key)}: ${json(entry)}`)
        .join(", ")}}`;
    default:
      return JSON.stringify(value.value ?? null);
  }
}

/** Python's `==`: numbers by amount, containers by content, never across kinds. */
export function equal(a: Value, b: Value): boolean {
  if (isNumber(a) && isNumber(b)) return Number(a.value) === Number(b.value);
  if (a.type !== b.type) return false;
  if (isList(a) && isList(b)) {
    return a.value.length === b.value.length && a.value.every((item, i) => equal(item, b.value[i]!));
  }
  if (a.type === "ObjectValue") {
    const other = new Map(entries(b));
    return entries(a).length === other.size && entries(a).every(([k, v]) => other.has(k) && equal(v, other.get(k)!));
  }
  return a.value === b.value;
}

/** Python's `len`, which counts code points. */
export function length(value: Value): number {
  if (value.type === "StringValue") return Array.from(value.value as string).length;
  if (value.type === "ObjectValue") return entries(value).length;
  if (value.type === "UndefinedValue") return 0;
  if (isList(value)) return value.value.length;
  throw new TypeError(`${repr(value)} has no length`);
}

/** Python's `str.strip`, `lstrip` and `rstrip`: removes any of `chars`, by default what Python calls whitespace. */
export function strip(text: string, sides: { left: boolean; right: boolean }, chars?: string): string {
  const drop = chars === undefined ? (char: string) => WHITESPACE.test(char) : (char: string) => chars.includes(char);
  const units = Array.from(text);
  let from = 0;
  let to = units.length;
  while (sides.left && from < to && drop(units[from]!)) from++;
  while (sides.right && from < to && drop(units[to - 1]!)) to--;
  return units.slice(from, to).join("");
}

// Unlike JavaScript's \s: with the separators U+001C to U+001F and U+0085, without U+FEFF.
// biome-ignore lint/suspicious/noControlCharactersInRegex: Python strips these too
const WHITESPACE = /^[\p{White_Space}\x1c-\x1f]$/u;

function repr(value: Value): string {
  switch (value.type) {
    case "NullValue":
      return "None";
    case "BooleanValue":
      return value.value ? "True" : "False";
    case "FloatValue":
      return float(value.value as number);
    case "StringValue":
      return quoted(value.value as string);
    case "ArrayValue":
      return `[${(value.value as Value[]).map(repr).join(", ")}]`;
    case "TupleValue":
      return `(${(value.value as Value[]).map(repr).join(", ")})`;
    case "ObjectValue":
      return `{${entries(value)
        .map(([key, entry]) => `${quoted(key)}: ${repr(entry)}`)
        .join(", ")}}`;
    default:
      return String(value.value);
  }
}

function quoted(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  return quote + text.replace(/[\\'\p{C}\p{Z}]/gu, (char) => (char === quote ? `\\${char}` : escapeOf(char))) + quote;
}

/** As Python writes a backslash and what it does not print: \n, \x00, \u200b, \U000e0001. */
function escapeOf(char: string): string {
  if (char in ESCAPES) return ESCAPES[char]!;
  const code = char.codePointAt(0)!;
  const [letter, digits] = code < 0x100 ? ["x", 2] : code < 0x10000 ? ["u", 4] : ["U", 8];
  return `\\${letter}${code.toString(16).padStart(digits as number, "0")}`;
}

const ESCAPES: Readonly<Record<string, string>> = {
  " ": " ",
  "'": "'",
  "\\": "\\\\",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
};

/** Python writes the same shortest digits as JavaScript, with an exponent below 1e-4 and from 1e16. */
function float(x: number): string {
  const [digits, exponent] = x.toExponential().split("e") as [string, string];
  const power = Number(exponent);
  if (x !== 0 && (power < -4 || power >= 16)) {
    return `${digits}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
  }
  return Number.isInteger(x) ? `${Object.is(x, -0) ? "-0" : x}.0` : String(x);
}

function entries(value: Value): [string, Value][] {
  return [...(value.value as Map<string, Value>)];
}

function isNumber(value: Value): boolean {
  return value.type === "IntegerValue" || value.type === "FloatValue" || value.type === "BooleanValue";
}

function isList(value: Value): value is Value & { value: Value[] } {
  return value.type === "ArrayValue" || value.type === "TupleValue";
}

function fromLibrary(data: unknown): Value {
  return new Environment().set("value", data);
}

const classOf = (sample: unknown) => fromLibrary(sample).constructor as new (value: unknown) => Value;
const IntegerValue = classOf(0);
const FloatValue = classOf(0.5);
const ArrayValue = classOf([]);
const ObjectValue = classOf({});
