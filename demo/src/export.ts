import type { Conversation } from "./conversation.ts";

export function exportJson(conversation: Conversation): void {
  download(`${fileName(conversation)}.json`, "application/json", JSON.stringify(conversation, null, 2));
}

export function exportMarkdown(conversation: Conversation): void {
  download(`${fileName(conversation)}.md`, "text/markdown", toMarkdown(conversation));
}

export function toMarkdown({ title, systemPrompt, messages }: Conversation): string {
  const parts = messages.map(({ reply, text }) => `## ${reply?.model ?? "You"}\n\n${text.trim()}`);
  const system = systemPrompt.trim() ? [`> ${systemPrompt.trim().replaceAll("\n", "\n> ")}`] : [];
  return `${[`# ${title}`, ...system, ...parts].join("\n\n")}\n`;
}

const fileName = ({ title }: Conversation) =>
  title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "conversation";

function download(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
