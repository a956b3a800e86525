/** How a model writes calls: one JSON object (Hermes), or a tag for the function and one for each argument. */
export type CallFormat = "json" | "xml";

/** How a model writes calls, by what its chat template says of them. */
export function callFormat(template: string | undefined): CallFormat {
  return template?.includes("<function=") ? "xml" : "json";
}

/** Whether a reply that goes on from `opening`, the prompt's part of the assistant's turn, begins within its thoughts. */
export function startsThinking(opening: string): boolean {
  return opening.lastIndexOf("<think>") > opening.lastIndexOf("</think>");
}

/** What ends thoughts that are cut, as templates write it. */
export const THINKING_END = "\n</think>\n\n";

/** How a call begins: that of any function, or of a certain one. It ends where a token would in the model's own writing. */
export function callOpening(format: CallFormat, name?: string): string {
  if (format === "xml") return `<tool_call>\n<function=${name === undefined ? "" : `${name}>\n`}`;
  return `<tool_call>\n{"name": "${name === undefined ? "" : `${JSON.stringify(name).slice(1, -1)}", "arguments":`}`;
}
