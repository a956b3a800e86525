/** The JSON types that a function's schema allows for a parameter; `string` where it says nothing. */
export function valueTypes(schema: unknown, key: string): ReadonlySet<string> {
  const properties = fieldOf(schema, "properties");
  const types = new Set(typesOf(fieldOf(properties, key), schema));
  return types.size > 0 ? types : new Set(["string"]);
}

/**
 * The JSON text of a value that was written without its type. What cannot be of any of the types stays text: the tool
 * can say better than a parser what is wrong with it.
 */
export function valueJson(text: string, types: ReadonlySet<string>): string {
  const value = text.trim();
  const word = value.toLowerCase();
  const allows = (...names: string[]) => names.some((name) => types.has(name));
  if (word === "null" || (word === "none" && allows("null"))) return "null";
  if (allows("boolean") && (word === "true" || word === "false")) return word;
  if (allows("integer", "number")) {
    const number = numberText(value);
    if (number !== undefined) return number;
  }
  if (allows("object", "array")) {
    const json = containerText(value) ?? containerText(jsonOfPython(value));
    if (json !== undefined && types.has(json.startsWith("[") ? "array" : "object")) return json;
  }
  return JSON.stringify(text);
}

function typesOf(schema: unknown, root: unknown, depth = 0): string[] {
  if (typeof schema !== "object" || schema === null || depth > 8) return [];
  const { type, anyOf, oneOf, allOf, enum: values, const: value, $ref } = schema as Record<string, unknown>;
  if (typeof type === "string" || Array.isArray(type)) return [type].flat() as string[];
  if (typeof $ref === "string") return typesOf(pointed($ref, root), root, depth + 1);
  const parts = [anyOf, oneOf, allOf].flatMap((list) => (Array.isArray(list) ? list : []));
  if (parts.length > 0) return parts.flatMap((part) => typesOf(part, root, depth + 1));
  return [...(Array.isArray(values) ? values : []), ...(value === undefined ? [] : [value])].map(typeOf);
}

/** What `#/$defs/name` points at. */
function pointed(reference: string, root: unknown): unknown {
  const path = reference.replace(/^#\/?/, "").split("/").filter(Boolean);
  return path.reduce((at, key) => fieldOf(at, key.replaceAll("~1", "/").replaceAll("~0", "~")), root);
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, key)
    ? (value as Record<string, unknown>)[key]
    : undefined;
}

/** A number as JSON writes it; its digits are kept, as an integer may have more than a double holds. */
function numberText(text: string): string | undefined {
  if (/^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text)) return text;
  const number = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(number) ? JSON.stringify(number) : undefined;
}

function containerText(text: string): string | undefined {
  if (!/^[[{]/.test(text)) return undefined;
  try {
    JSON.parse(text);
    return text;
  } catch {
    return undefined;
  }
}

/** A Python literal, such as `{'a': True}`, as the JSON it would be; what is none comes out as no JSON either. */
function jsonOfPython(text: string): string {
  const tokens = /'((?:[^'\\]|\\.)*)'|"(?:[^"\\]|\\.)*"|\b(?:True|False|None)\b|,(?=\s*[\]}])/gs;
  const words: Record<string, string> = { True: "true", False: "false", None: "null", ",": "" };
  return text.replace(tokens, (token, quoted?: string) => {
    if (quoted === undefined) return words[token] ?? token;
    return `"${quoted.replaceAll("\\'", "'").replace(/(?<!\\)"/g, '\\"')}"`;
  });
}
