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
    }),
  ),
  guided_json: optional(schema),
  guided_regex: optional(z.string()),
  guided_choice: optional(z.array(z.string()).min(1)),
  guided_grammar: optional(z.string()),
  regex: optional(z.string()),
  ebnf: optional(z.string()),
  json_schema: optional(schema),
};

type Fields = Sparse<z.infer<z.ZodObject<typeof outputFormatFields>>>;

export function outputFormat(fields: Fields): OutputFormat | undefined {
  const own = fields.structured_outputs;
  const json = own?.json ?? fields.guided_json ?? fields.json_schema ?? responseSchema(fields.response_format);
  const pattern = own?.regex ?? fields.guided_regex ?? fields.regex;
  const choices = own?.choice ?? fields.guided_choice;
  const grammar = own?.grammar ?? fields.guided_grammar ?? fields.ebnf;
  if (json !== undefined) return { kind: "schema", schema: typeof json === "string" ? parsed(json) : json };
  if (pattern !== undefined) return { kind: "regex", pattern };
  if (choices !== undefined) return { kind: "choice", choices };
  if (grammar !== undefined) return { kind: "grammar", grammar };
  return own?.json_object || fields.response_format?.type === "json_object" ? { kind: "json" } : undefined;
}

function responseSchema(format: Fields["response_format"]): unknown {
  if (format?.type === "text") return undefined;
  const given = format?.json_schema?.schema ?? format?.schema;
  if (format?.type !== "json_schema" || given !== undefined) return given;
  throw invalid("response_format.json_schema", "lacks its schema.");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid("response_format", `the schema is not JSON: ${(error as Error).message}`);
  }
}
