import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import { PartEncoder } from "../../src/tokenizer/part-encoder.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";
import { random } from "../support/random.ts";
import { openTokenizer, QWEN3, readJson, SPROUT, sproutReference, tokenizerFiles } from "./tokenizers.ts";

const qwen = openTokenizer(QWEN3);
const sprout = openTokenizer(SPROUT);

describe("Qwen3's own tokenizer", () => {
  test.each([
    ["<|endoftext|>", 151643],
    ["<|im_start|>", 151644],
    ["<|im_end|>", 151645],
    ["<|vision_start|>", 151652],
    ["<|video_pad|>", 151656],
    ["<tool_call>", 151657],
    ["</tool_call>", 151658],
    ["<|fim_prefix|>", 151659],
    ["<|file_sep|>", 151664],
    ["<tool_response>", 151665],
    ["</tool_response>", 151666],
    ["<think>", 151667],
    ["</think>", 151668],
  ])("%s is token %i", (content, id) => {
    expect(qwen.tokenId(content)).toBe(id);
    expect(qwen.encode(`a${content}b`)).toEqual([64, id, 65]);
    expect(qwen.decode([id])).toBe(content);
    expect(qwen.isSpecial(id)).toBe(content.startsWith("<|") && id < 151657);
  });

  test("gives long texts the same ids in parts, again and when they go on", async () => {
    const next = random(7);
    const pieces = [
      "\n",
      "\r\n",
      "\n\n",
      " \n",
      "A",
      " the",
      "é",
      "e\u0301",
      "'s",
      "東京",
      "<|im_end|>\n<|im_start|>",
      "<think>",
      "12",
      "  ",
      "—x",
      "\n\t",
      "\n.",
      "ᄀ\n각",
    ];
    let text = "";
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5000; i++) text += pieces[Math.floor(next() * pieces.length)];
      expect(await qwen.encodeLong(text)).toEqual(qwen.encode(text));
    }
    const plain = "a b ".repeat(20_000);
    expect(await qwen.encodeLong(plain)).toEqual(qwen.encode(plain));
  });

  test("lets others have their turn while it encodes a long text, and remembers that", async () => {
    let nowMs = 0;
    vi.spyOn(performance, "now").mockImplementation(() => nowMs);
    const turns = vi.spyOn(globalThis, "setTimeout");
    const encoder = new PartEncoder(
      (text) => {
        nowMs += 3;
        return [text.length];
      },
      { specials: [], afterLineBreaks: true },
    );
    const line = (i: number) => `Line ${i} of a long text, which is read again and again.\n`;
    const text = Array.from({ length: 8000 }, (_, i) => line(i)).join("");
    await encoder.encode(text);
    // A part has some 4,000 characters of 450,000.
    expect(turns.mock.calls.length).toBeGreaterThan(30);
    turns.mockClear();
    await encoder.encode(text + line(8001));
    expect(turns).not.toHaveBeenCalled();
    vi.restoreAllMocks();
  });

  test("counts the ids in use, not the embedding's rows", () => {
    expect(qwen.vocabularySize).toBe(151669);
    expect(qwen.decode([151935, 64])).toBe("a");
  });

  // Ids from the Rust library tokenizers 0.23.2.
  test.each(readJson(join(import.meta.dirname, "../fixtures/qwen3-known-ids.json")) as [string, number[]][])(
    "%j has the ids that others give it",
    (text, ids) => {
      expect(qwen.encode(text)).toEqual(ids);
      expect(qwen.decode(ids)).toBe(text.normalize("NFC"));
    },
  );

  test("finds plain tokens by their text", () => {
    expect(qwen.tokenId("Hello")).toBe(9707);
    expect(qwen.tokenId(" world")).toBe(1879);
    expect(qwen.tokenId("no such token")).toBeUndefined();
  });

  test("nothing is no tokens", () => {
    expect(qwen.encode("")).toEqual([]);
    expect(qwen.decode([])).toBe("");
  });

  test("skipSpecial drops structure and keeps thoughts and tool calls", () => {
    const text =
      "<|im_start|>assistant\n<think>\nhm\n</think>\n\n<tool_call>\n{}\n</tool_call><|im_end|>\n<|endoftext|>";
    expect(qwen.decode(qwen.encode(text))).toBe(text);
    expect(qwen.decode(qwen.encode(text), { skipSpecial: true })).toBe(
      "assistant\n<think>\nhm\n</think>\n\n<tool_call>\n{}\n</tool_call>\n",
    );
  });

  test("bytes that are no UTF-8 become U+FFFD", () => {
    const ids = qwen.encode("𓀀");
    expect(ids.flatMap((id) => [...qwen.bytes(id)])).toEqual([0xf0, 0x93, 0x80, 0x80]);
    expect(ids.length).toBeGreaterThan(1);
    expect(qwen.decode([ids[0]!, 64])).toBe("\ufffda");
    expect(qwen.decode([64, ids[0]!])).toBe("a\ufffd");
    expect(qwen.decode([ids[0]!, 151667])).toBe("\ufffd<think>");
  });
});

describe("Sprout's tokenizer", () => {
  test.each(sproutReference.cases)("$name", ({ text, inputIds, greedyIds, greedyText }) => {
    if (text !== undefined) expect(sprout.encode(text)).toEqual(inputIds);
    expect(sprout.encode(sprout.decode(inputIds))).toEqual(inputIds);
    expect(sprout.decode(greedyIds)).toBe(greedyText);
  });

  test("agrees with the ids of held-out texts", () => {
    for (const { text, ids } of sproutReference.heldOut) {
      expect(sprout.encode(text)).toEqual(ids);
      expect(sprout.decode(ids)).toBe(text);
    }
  });
});

test("puts nothing in front, even where the tokenizer would", () => {
  const files = tokenizerFiles(SPROUT);
  const begin = { SpecialToken: { id: "<|endoftext|>", type_id: 0 } };
  const single = [begin, { Sequence: { id: "A", type_id: 0 } }];
  const post_processor = { type: "TemplateProcessing", single, pair: [], special_tokens: {} };
  const tokenizer = new Tokenizer({ ...files, json: { ...files.json, post_processor } }, "with a template");
  expect(tokenizer.encode("Once upon")).toEqual(sprout.encode("Once upon"));
});

describe("a tokenizer that cannot be used", () => {
  const files = tokenizerFiles(SPROUT);
  test.each([
    ["of another type", { ...files.json, model: { type: "Unigram", vocab: [] } }, /"Unigram"/],
    ["of no type", { ...files.json, model: { vocab: {} } }, /undefined/],
    ["with another decoder", { ...files.json, decoder: { type: "Metaspace" } }, /"Metaspace"/],
    ["with an unknown normalizer", { ...files.json, normalizer: { type: "Rot13" } }, /Rot13/],
    ["without merges", { ...files.json, model: { ...files.json.model, merges: undefined } }, /merges/],
    ["without added tokens", { ...files.json, added_tokens: undefined }, /added tokens/],
    ["that is a text", "garbage", /type undefined/],
    ["that is null", null, /type undefined/],
  ])("%s fails with its name", (_, json, message) => {
    const open = () => new Tokenizer({ json, config: files.config }, "some-model");
    expect(open).toThrow(CheckpointError);
    expect(open).toThrow(/^some-model: tokenizer\.json/);
    expect(open).toThrow(message);
  });
});
