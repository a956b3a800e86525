import { sproutReference } from "../tokenizer/tokenizers.ts";

/** What all clients ask, and what Sprout answers. */
export const KEY = "secret";
export const question = { role: "user", content: "What is the capital of France?" } as const;
export const capital = "Paris is the capital of France.";
export const weather = { role: "user", content: "What's the weather like in Lisbon?" } as const;
/** The temperature that the tool tells. */
export const answer = "14";
/** Continued, it makes a model think that does not by itself. */
export const thought = { role: "assistant", content: "<think>\nThe capital of France" } as const;

export const weatherThere = `{"temperature": ${answer}, "condition": "rainy"}`;

const cases = sproutReference.cases.find(({ name }) => name === "tool call")!;

/** Tools that Sprout was taught, and what the first gives. */
export const weatherTools = () =>
  cases.tools!.map(({ function: tool }) => ({
    type: "function" as const,
    function: { ...tool, parse: JSON.parse, function: async () => weatherThere },
  }));
