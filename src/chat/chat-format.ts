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
