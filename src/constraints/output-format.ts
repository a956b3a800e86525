import type { OutputFormat } from "../api/types.ts";
import { InvalidRequestError } from "../errors.ts";
import type { Structure } from "./structure.ts";

/** Characters of a schema or grammar at most: what is made of them grows faster than they do. */
const MAX_LENGTH = 2 ** 16;
const MAX_REGEX_LENGTH = 2 ** 10;

/** An output format as the grammar engine writes it. Fails with `InvalidRequestError` where it is malformed. */
export function formatStructure(format: OutputFormat): Structure {
  switch (format.kind) {
    case "json":
      return { type: "json_schema", json_schema: { type: "object" } };
    case "schema":
      return { type: "json_schema", json_schema: checkedSchema("format.schema", format.schema) };
    case "regex":
      return { type: "regex", pattern: checkedText("format.pattern", format.pattern, MAX_REGEX_LENGTH) };
    case "choice":
      return choiceOf(format.choices);
    case "grammar":
      return { type: "grammar", grammar: checkedText("format.grammar", format.grammar, MAX_LENGTH) };
    default: {
      const { kind } = format as { kind: unknown };
      throw new InvalidRequestError("format.kind", `${kind} is none of json, schema, regex, choice, grammar.`);
    }
  }
}

/** A JSON Schema of sensible size; fails with `InvalidRequestError`, naming `field`, for anything else. */
export function checkedSchema(field: string, schema: unknown): boolean | Record<string, unknown> {
  const isSchema = typeof schema === "boolean" || (typeof schema === "object" && schema && !Array.isArray(schema));
  if (!isSchema) throw new InvalidRequestError(field, "this is no JSON Schema; give an object.");
  checkedText(field, JSON.stringify(schema), MAX_LENGTH);
  return schema as Record<string, unknown>;
}

function choiceOf(choices: readonly string[]): Structure {
  const isList = Array.isArray(choices) && choices.length > 0 && choices.every((c) => typeof c === "string" && c);
  if (!isList) throw new InvalidRequestError("format.choices", "give a list of texts, none of them empty.");
  checkedText("format.choices", choices.join(""), MAX_LENGTH);
  return { type: "or", elements: choices.map((value) => ({ type: "const_string", value })) };
}

function checkedText(field: string, text: string, limit: number): string {
  if (typeof text !== "string" || text === "") throw new InvalidRequestError(field, "give a text that is not empty.");
  if (text.length <= limit) return text;
  throw new InvalidRequestError(field, `${text.length} characters are too many; at most ${limit} are allowed.`);
}
