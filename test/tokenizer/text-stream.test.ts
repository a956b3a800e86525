import { describe, expect, test } from "vitest";
import { TextStream } from "../../src/tokenizer/text-stream.ts";
import { random } from "../support/random.ts";
import { cut, openTokenizer, QWEN3, SPROUT, sproutReference } from "./tokenizers.ts";

const qwen = openTokenizer(QWEN3);
const sprout = openTokenizer(SPROUT);

const texts = [
  "  two spaces first, then  three   in between",
  "👩‍👩‍👧‍👦 family, 🏳️‍🌈 flag, 👍🏽 tone, 🇩🇪 country",
  "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ꙮ 𓀀 ༀ",
  "\ufeffa mark at the start\ufeff and inside",
  "नमस्ते, 안녕하세요, мир, 你好世界",
];

describe("TextStream", () => {
  // Sprout has no tokens for these scripts: every character is several.
  test.each(texts)("gives %j in whole characters, however it is cut", (text) => {
    const next = random(1);
    const ids = sprout.encode(text);
    for (let round = 0; round < 20; round++) {
      const stream = new TextStream(sprout);
      const pieces = cut(ids, next).map((piece) => stream.push(piece));
      for (const piece of pieces) expect(piece).not.toMatch(/\p{Surrogate}/u);
      expect(pieces.join("")).toBe(text.normalize("NFC"));
      expect(pieces.join("")).not.toContain("\ufffd");
      expect(stream.flush()).toBe("");
    }
  });

  test("agrees with decode on any tokens at all", () => {
    const next = random(2);
    for (let round = 0; round < 500; round++) {
      // Low ids are single bytes, mostly of broken characters; the highest stand for nothing.
      const ids = Array.from({ length: 12 }, () => Math.floor(next() * (next() < 0.5 ? 256 : 151936)));
      const skipSpecial = next() < 0.5;
      const stream = new TextStream(qwen, { skipSpecial });
      const streamed = cut(ids, next).map((piece) => stream.push(piece));
      const text = streamed.join("") + stream.flush();
      expect(text, ids.join()).toBe(qwen.decode(ids, { skipSpecial }));
      const bytes = ids.filter((id) => !skipSpecial || !qwen.isSpecial(id)).flatMap((id) => [...qwen.bytes(id)]);
      expect(text, ids.join()).toBe(Buffer.from(bytes).toString("utf8"));
    }
  });

  test("a character cut off by the end is one U+FFFD, and only at the end", () => {
    const ids = sprout.encode("ok 🌱");
    const stream = new TextStream(sprout);
    expect(stream.push(ids.slice(0, -1))).toBe("ok ");
    expect(stream.flush()).toBe("\ufffd");
    expect(stream.push(sprout.encode("again"))).toBe("again");
  });

  test("shows each token as soon as it is whole", () => {
    const { greedyIds, greedyText } = sproutReference.cases[0]!;
    const stream = new TextStream(sprout);
    const pieces = greedyIds.map((id) => stream.push([id]));
    expect(pieces.every((piece) => piece.length > 0)).toBe(true);
    expect(pieces.join("")).toBe(greedyText);
  });

  test("reads each token's bytes once, whatever came before", () => {
    let reads = 0;
    const counting = {
      isSpecial: () => false,
      bytes(id: number) {
        reads++;
        return sprout.bytes(id);
      },
    };
    const stream = new TextStream(counting);
    for (let i = 0; i < 1000; i++) stream.push([i]);
    expect(reads).toBe(1000);
  });
});
