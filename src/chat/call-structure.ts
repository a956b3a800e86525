import type { Tool } from "../api/types.ts";
import { checkedSchema } from "../constraints/output-format.ts";
import { nothing, type Structure, type Tag } from "../constraints/structure.ts";
import type { CallFormat } from "./chat-format.ts";

export interface CallConstraint {
  readonly tools: readonly Tool[];
  readonly format: CallFormat;
  /** The reply is nothing but calls, at least one; else they may come anywhere in its text, or not at all. */
  readonly required: boolean;
  readonly parallel: boolean;
}

/** Calls of `tools` in the model's own format, with arguments by the tools' schemas. */
export function callStructure({ tools, format, required, parallel }: CallConstraint): Structure {
  const write = { json: jsonCall, xml: xmlCall }[format];
  const tags = tools.map(({ function: { name, parameters } }) => {
    const schema = parameters ?? { type: "object", properties: {} };
    return write(name, checkedSchema(`tools.${name}.parameters`, schema));
  });
  const stop_after_first = !parallel;
  return required
    ? { type: "tags_with_separator", tags, separator: "\n", at_least_one: true, stop_after_first }
    : { type: "triggered_tags", triggers: ["<tool_call>"], tags, stop_after_first };
}

type Schema = boolean | Record<string, unknown>;

const jsonCall = (name: string, json_schema: Schema): Tag => ({
  type: "tag",
  begin: `<tool_call>\n{"name": ${JSON.stringify(name)}, "arguments": `,
  content: { type: "json_schema", json_schema },
  end: "}\n</tool_call>",
});

const xmlCall = (name: string, schema: Schema): Tag => ({
  type: "tag",
  begin: `<tool_call>\n<function=${name}>\n`,
  content: parametersOf(schema),
  end: "</function>\n</tool_call>",
});

/**
 * Parameters in the schema's order, those that are not required or left out. (XGrammar's own XML form escapes entities
 * and allows no line breaks in a value, neither of which these models do.)
 */
function parametersOf(schema: Schema): Structure {
  const {
    properties = {},
    required = [],
    ...rest
  } = (typeof schema === "object" ? schema : {}) as {
    properties?: Record<string, unknown>;
    required?: readonly string[];
  };
  const definitions = Object.fromEntries(Object.entries(rest).filter(([key]) => /^(\$defs|definitions)$/.test(key)));
  const elements = Object.entries(properties).map(([key, value]): Structure => {
    const parameter: Tag = {
      type: "tag",
      begin: `<parameter=${key}>\n`,
      content: parameterValue(value, definitions),
      end: "\n</parameter>\n",
    };
    return required.includes(key) ? parameter : { type: "or", elements: [parameter, nothing] };
  });
  return elements.length > 0 ? { type: "sequence", elements } : nothing;
}

/** Values are JSON, but for texts, which stand as they are, and what may be a text. */
function parameterValue(schema: unknown, definitions: Record<string, unknown>): Structure {
  const { type, enum: choices } = (schema ?? {}) as { type?: unknown; enum?: readonly unknown[] };
  if (Array.isArray(choices) && choices.length > 0 && choices.every((choice) => typeof choice === "string" && choice)) {
    return { type: "or", elements: choices.map((value) => ({ type: "const_string", value })) };
  }
  const types = [type].flat();
  const isJson = types.every((t) => ["integer", "number", "boolean", "object", "array", "null"].includes(t as string));
  return isJson
    ? { type: "json_schema", json_schema: { ...(schema as object), ...definitions } }
    : { type: "any_text" };
}
