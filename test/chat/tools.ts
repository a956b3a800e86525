import type { Tool } from "../../src/api/types.ts";

/** One function with parameters of every type, another without a schema. */
export const tools: readonly Tool[] = [
  {
    type: "function",
    function: {
      name: "f",
      parameters: {
        type: "object",
        properties: {
          city: { type: "string" },
          note: { description: "of any type" },
          count: { type: "integer" },
          ratio: { type: "number" },
          isOpen: { type: "boolean" },
          list: { type: "array", items: {} },
          object: { $ref: "#/$defs/thing" },
          either: { type: ["string", "integer"] },
          other: { anyOf: [{ type: "string" }, { type: "null" }] },
          pick: { enum: ["a", "b"] },
        },
        $defs: { thing: { type: "object" } },
      },
    },
  },
  { type: "function", function: { name: "g" } },
];
