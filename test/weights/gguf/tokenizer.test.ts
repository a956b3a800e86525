import { describe, expect, it } from "vitest";
import { samplingDefaults } from "../../../src/api/sampling.ts";
import { FolderSource } from "../../../src/platform/node/folder-source.ts";
import { ChatTemplate } from "../../../src/tokenizer/chat-template.ts";
import { Tokenizer } from "../../../src/tokenizer/tokenizer.ts";
import type { Checkpoint } from "../../../src/weights/checkpoint.ts";
import { FileListSource } from "../../../src/weights/file-list-source.ts";
import { openCheckpoint } from "../../../src/weights/open-checkpoint.ts";
import { ggufModel } from "../../support/gguf-model.ts";
import { tokenizerMetadata } from "../../support/gguf-tokenizer.ts";
import { type GgufField, writeGguf } from "../../support/gguf-writer.ts";
import { fixtureFolder } from "../../support/reference-model.ts";
import { sproutReference } from "../../tokenizer/tokenizers.ts";

const SPROUT = "demo/public/models/sprout";
const VOCABULARY = 8256;

const sprout = await openCheckpoint(await FolderSource.open(SPROUT));
const { metadata, tensors } = await tinyModel();
const written = tokenizerMetadata(sprout, VOCABULARY);

const open = (fields: Record<string, GgufField>): Promise<Checkpoint> =>
  openCheckpoint(new FileListSource([new File([writeGguf({ ...metadata, ...fields }, tensors)], "m.gguf")]));

async function tinyModel() {
  const checkpoint = await openCheckpoint(await FolderSource.open(fixtureFolder("qwen3.5-dense-tiny")));
  const model = await ggufModel(checkpoint);
  await checkpoint.close();
  return model;
}

describe("the tokenizer in a GGUF", async () => {
  const gguf = await open(written);
  const [actual, expected] = [gguf, sprout].map(({ tokenizer, label }) => new Tokenizer(tokenizer!, label));

  it("gives the ids that the tokenizer it was made of gives, and their text", async () => {
    const texts = [...sproutReference.cases, ...sproutReference.heldOut].flatMap(({ text }) => text ?? []);
    const more = [
      "",
      "  two  spaces\n\n\nand\tlines ",
      "I'll say: 3,141 × ½ = ? don't\r\n",
      "<|im_start|>user\n<think>x</think><|im_end|>",
      "naïve e\u0301 漢字 🙂🙂",
      "for (let i = 0; i < 10; i++) {}",
    ];
    for (const text of [...texts, ...more]) {
      expect(actual.encode(text), text).toEqual(expected.encode(text));
      expect(actual.decode(actual.encode(text))).toBe(text.normalize("NFC"));
    }
  });

  it("knows the same special tokens, and no padding", () => {
    expect(actual.vocabularySize).toBe(expected.vocabularySize);
    for (let id = 0; id < expected.vocabularySize; id++) {
      expect([id, actual.isSpecial(id), actual.bytes(id)]).toEqual([id, expected.isSpecial(id), expected.bytes(id)]);
    }
  });

  it("ends replies and renders chats as it did", () => {
    const stops = [gguf, sprout].map((c) => samplingDefaults(c.generationConfig, {}, []).stopIds.toSorted());
    expect(stops[0]).toEqual(stops[1].slice(-1));
    const messages = [{ role: "user", content: "Hi" }] as const;
    const [ours, theirs] = [gguf, sprout].map(({ chatTemplate, label }) => new ChatTemplate(chatTemplate, label));
    expect(ours.render(messages)).toBe(theirs.render(messages));
  });
});

it("takes sampling from the metadata, in the decimals that were meant", async () => {
  const { generationConfig } = await open({
    ...written,
    "general.sampling.temp": { f32: 0.7 },
    "general.sampling.top_p": { f32: 0.8 },
    "general.sampling.top_k": 20,
    "tokenizer.ggml.eot_token_id": 5,
  });
  expect(generationConfig).toEqual({ temperature: 0.7, top_p: 0.8, top_k: 20, eos_token_id: [8194, 5] });
});

it("cuts words with combining marks as qwen35 does", async () => {
  const [next, later] = await Promise.all(
    ["qwen2", "qwen35"].map((pre) => open({ ...written, "tokenizer.ggml.pre": pre })),
  );
  const regexOf = ({ tokenizer }: Checkpoint) => {
    const { pre_tokenizer } = tokenizer!.json as { pre_tokenizer: { pretokenizers: { pattern: { Regex: string } }[] } };
    return pre_tokenizer.pretokenizers[0].pattern.Regex;
  };
  expect(regexOf(next)).toBe(regexOf(sprout));
  // A mark that composes with nothing: a letter's for Qwen3.5, a sign of its own before.
  const cut = (checkpoint: Checkpoint) =>
    "x\u0331y".match(new RegExp(regexOf(checkpoint).replace("(?i:'s", "(?:'s"), "gu"));
  expect(cut(next)).toEqual(["x", "\u0331y"]);
  expect(cut(later)).toEqual(["x\u0331y"]);
});

it("refuses other tokenizers by name, and needs none", async () => {
  await expect(open({ ...written, "tokenizer.ggml.model": "llama" })).rejects.toThrow(
    /its tokenizer is llama with qwen2/,
  );
  await expect(open({ ...written, "tokenizer.ggml.pre": "llama-bpe" })).rejects.toThrow(/gpt2 with llama-bpe/);
  const { "tokenizer.ggml.merges": _, ...without } = written;
  await expect(open(without)).rejects.toThrow(/tokenizer\.ggml\.merges is missing/);
  expect((await open({})).tokenizer).toBeUndefined();
});
