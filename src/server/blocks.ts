import type { GenerationEvent, ScoredToken } from "../api/types.ts";
import type { Finish } from "./job.ts";

/** A stretch of a reply that is of one kind: thoughts, text, or one call with its arguments. */
export interface Block {
  readonly kind: "reasoning" | "text" | "call";
  /** Which block of the reply, from 0. */
  readonly index: number;
  /** Of a call. */
  readonly id: string;
  readonly name: string;
  /** All of it so far. */
  text: string;
  readonly logprobs: ScoredToken[];
}

export type BlockEvent =
  | { readonly kind: "prefill"; readonly promptTokens: number }
  | { readonly kind: "open"; readonly block: Block }
  | { readonly kind: "delta"; readonly block: Block; readonly delta: string }
  | { readonly kind: "close"; readonly block: Block }
  | { readonly kind: "finish"; readonly finish: Finish; readonly blocks: readonly Block[] };

/** A reply as blocks, one after the other: how Anthropic's and OpenAI's newer interface stream. */
export async function* toBlocks(events: AsyncIterable<{ item: GenerationEvent }>): AsyncGenerator<BlockEvent> {
  const blocks: Block[] = [];
  let open: Block | undefined;
  for await (const { item } of events) {
    if (item.kind === "prefill") {
      yield { kind: "prefill", promptTokens: item.total };
      continue;
    }
    if (item.kind === "finish") {
      if (open) yield { kind: "close", block: open };
      yield { kind: "finish", finish: item, blocks };
      return;
    }
    const start = blockOf(item, blocks.length);
    if (!open || open.kind !== start.kind || open.id !== start.id) {
      if (open) yield { kind: "close", block: open };
      open = start;
      blocks.push(open);
      yield { kind: "open", block: open };
    }
    const delta = item.kind === "toolCall" ? item.argumentsDelta : item.text;
    open.text += delta;
    open.logprobs.push(...(item.logprobs ?? []));
    if (delta !== "") yield { kind: "delta", block: open, delta };
  }
}

/** The blocks of a reply that is done. */
export function blocksOf(
  { reasoning, toolCalls = [] }: Finish,
  text: string,
  logprobs: readonly ScoredToken[],
): Block[] {
  const blocks: Block[] = [];
  const add = (kind: Block["kind"], text: string, more: Partial<Block> = {}) =>
    blocks.push({ kind, index: blocks.length, id: "", name: "", text, logprobs: [], ...more });
  if (reasoning) add("reasoning", reasoning);
  if (text !== "" || toolCalls.length === 0) add("text", text, { logprobs: [...logprobs] });
  for (const { id, function: call } of toolCalls) add("call", call.arguments, { id, name: call.name });
  return blocks;
}

function blockOf(item: Exclude<GenerationEvent, { kind: "prefill" | "finish" }>, index: number): Block {
  const base = { index, text: "", logprobs: [] };
  return item.kind === "toolCall"
    ? { ...base, kind: "call", id: item.id, name: item.name ?? "" }
    : { ...base, kind: item.kind, id: "", name: "" };
}
