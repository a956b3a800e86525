import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import type { GgufField } from "./gguf-writer.ts";

interface TokenizerJson {
  readonly model: { readonly vocab: Record<string, number>; readonly merges: readonly (readonly [string, string])[] };
  readonly added_tokens: readonly { readonly id: number; readonly content: string; readonly special: boolean }[];
}

/** What converters write of a tokenizer: a token for each row of the embedding, unused ones as padding. */
export function tokenizerMetadata(
  { tokenizer, chatTemplate, generationConfig }: Checkpoint,
  vocabulary: number,
): Record<string, GgufField> {
  const { model, added_tokens } = tokenizer!.json as TokenizerJson;
  const tokens = Array.from({ length: vocabulary }, (_, id) => `[PAD${id}]`);
  const types = tokens.map(() => 5);
  for (const [text, id] of Object.entries(model.vocab)) {
    tokens[id] = text;
    types[id] = 1;
  }
  for (const { id, content, special } of added_tokens) {
    tokens[id] = content;
    types[id] = special ? 3 : 4;
  }
  const [eos, ...others] = [generationConfig.eos_token_id].flat() as number[];
  return {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen2",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.token_type": types,
    "tokenizer.ggml.merges": model.merges.map((pair) => pair.join(" ")),
    "tokenizer.ggml.eos_token_id": eos,
    "tokenizer.ggml.padding_token_id": others[0] ?? eos,
    "tokenizer.ggml.add_bos_token": false,
    "tokenizer.chat_template": chatTemplate ?? "",
  };
}
