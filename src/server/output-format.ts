import * as z from "zod";
import type { OutputFormat } from "../api/types.ts";
import { invalid } from "./http-error.ts";
import { optional, type Sparse } from "./schema.ts";

const schema = z.union([z.record(z.string(), z.unknown()), z.boolean(), z.string()]);

/** What a reply must look like: OpenAI's field, vLLM's (old and new), SGLang's and llama.cpp's. */
export const outputFormatFields = {
  response_format: optional(
    z.object({
      type: z.enum(["text", "json_object", "json_schema"]),
      json_schema: optional(z.object({ schema: optional(schema) })),
      schema: optional(schema),
    }),
  ),
  structured_outputs: optional(
    z.object({
      json: optional(schema),
      json_object: optional(z.boolean()),
      regex: optional(z.string()),
      choice: optional(z.array(z.string()).min(1)),
      grammar: optional(z.string()),
      structural_tag: optional(z.unknown()),
    }),
  ),
  guided_json: optional(schema),
  guided_json_object: optional(z.boolean()),
  guided_regex: optional(z.string()),
  guided_choice: optional(z.array(z.string()).min(1)),
  guided_grammar: optional(z.string()),
  regex: optional(z.string()),
  ebnf: optional(z.string()),
  grammar: optional(z.string()),
  json_schema: optional(schema),
};

type Fields = Sparse<z.infer<z.ZodObject<typeof outputFormatFields>>>;

/** What the reply is held to, and the field that says so. */
export interface AskedFormat {
  readonly field: string;
  readonly format: OutputFormat;
}

export function askedFormat(fields: Fields): AskedFormat | undefined {
  const { structured_outputs: own, response_format: response } = fields;
  if (own?.structural_tag !== undefined) {
    throw invalid("structured_outputs.structural_tag", "give json, regex, choice or grammar instead.", "unsupported");
  }
  const ways: readonly (AskedFormat | undefined)[] = [
    ofSchema("structured_outputs.json", own?.json),
    ofSchema("guided_json", fields.guided_json),
    ofSchema("json_schema", fields.json_schema),
    responseSchema(response),
    ofRegex("structured_outputs.regex", own?.regex),
    ofRegex("guided_regex", fields.guided_regex),
    ofRegex("regex", fields.regex),
    ofChoices("structured_outputs.choice", own?.choice),
    ofChoices("guided_choice", fields.guided_choice),
    ofGrammar("structured_outputs.grammar", own?.grammar),
    ofGrammar("guided_grammar", fields.guided_grammar),
    ofGrammar("ebnf", fields.ebnf),
    ofGrammar("grammar", fields.grammar),
    ofJson("structured_outputs.json_object", own?.json_object),
    ofJson("guided_json_object", fields.guided_json_object),
    ofJson("response_format", response?.type === "json_object"),
  ];
  return ways.find((way) => way !== undefined);
}

type Way<T> = (field: string, value: T | undefined) => AskedFormat | undefined;

const ofSchema: Way<unknown> = (field, value) =>
  value === undefined
    ? undefined
    : { field, format: { kind: "schema", schema: typeof value === "string" ? parsed(field, value) : value } };
const ofRegex: Way<string> = (field, pattern) =>
  pattern === undefined ? undefined : { field, format: { kind: "regex", pattern } };
const ofChoices: Way<readonly string[]> = (field, choices) =>
  choices === undefined ? undefined : { field, format: { kind: "choice", choices } };
const ofGrammar: Way<string> = (field, grammar) =>
  grammar === undefined ? undefined : { field, format: { kind: "grammar", grammar } };
const ofJson: Way<boolean> = (field, isAsked) => (isAsked ? { field, format: { kind: "json" } } : undefined);

function responseSchema(format: Fields["response_format"]): AskedFormat | undefined {
  if (!format || format.type === "text") return undefined;
  const inner = format.json_schema?.schema;
  if (inner !== undefined) return ofSchema("response_format.json_schema.schema", inner);
  if (format.schema !== undefined) return ofSchema("response_format.schema", format.schema);
  if (format.type === "json_object") return undefined;
  throw invalid("response_format.json_schema", "lacks its schema.");
}

function parsed(field: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(field, `the schema is not JSON: ${(error as Error).message}`);
  }
}
