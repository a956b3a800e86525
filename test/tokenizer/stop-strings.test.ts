import { describe, expect, test } from "vitest";
import { InvalidRequestError } from "../../src/errors.ts";
import { StopStrings } from "../../src/tokenizer/stop-strings.ts";
import { random } from "../support/random.ts";
import { cut } from "./tokenizers.ts";

function run(stops: readonly string[], pieces: readonly string[]): { text: string; stop?: string } {
  const search = new StopStrings(stops);
  let text = "";
  for (const piece of pieces) {
    const found = search.push(piece);
    text += found.text;
    if (found.stop !== undefined) return { text, stop: found.stop };
  }
  return { text: text + search.flush() };
}

/** The definition: the stop that is complete first, the longest of those. */
function defined(stops: readonly string[], text: string): { text: string; stop?: string } {
  const longestFirst = [...stops].sort((a, b) => b.length - a.length);
  for (let end = 1; end <= text.length; end++) {
    const stop = longestFirst.find((candidate) => text.slice(0, end).endsWith(candidate));
    if (stop !== undefined) return { text: text.slice(0, end - stop.length), stop };
  }
  return { text };
}

describe("StopStrings", () => {
  test.each([
    ["in one piece", ["END"], ["abc END def"], { text: "abc ", stop: "END" }],
    ["over pieces", ["END"], ["abc E", "N", "D def"], { text: "abc ", stop: "END" }],
    ["a false start", ["END"], ["abc E", "N", "d def"], { text: "abc ENd def" }],
    ["a start within a false start", ["aab"], ["aa", "a", "b"], { text: "a", stop: "aab" }],
    ["the first of several", ["two", "one"], ["zero one two"], { text: "zero ", stop: "one" }],
    ["a stop within a longer one", ["b", "abc"], ["xabc"], { text: "xa", stop: "b" }],
    ["two that end together", ["bc", "abc"], ["xabc"], { text: "x", stop: "abc" }],
    ["a shorter one inside what is held", ["abcd", "bce"], ["xabc", "e"], { text: "xa", stop: "bce" }],
    ["at the very start", ["\n\n"], ["\n", "\n"], { text: "", stop: "\n\n" }],
    ["cut off by the end", ["</done>"], ["yes </do"], { text: "yes </do" }],
    ["characters beyond U+FFFF", ["🌱"], ["a🌲", "🌱b"], { text: "a🌲", stop: "🌱" }],
    ["no stops", [], ["anything"], { text: "anything" }],
  ])("%s", (_, stops, pieces, expected) => {
    expect(run(stops, pieces)).toEqual(expected);
  });

  test("holds back no more than what could begin a stop", () => {
    const search = new StopStrings(["<|end|>"]);
    expect(search.push("a < b <|e")).toEqual({ text: "a < b " });
    expect(search.push("q")).toEqual({ text: "<|eq" });
  });

  test("agrees with its definition on random texts, wherever they are cut", () => {
    const next = random(3);
    const word = (length: number) => Array.from({ length }, () => "abc"[Math.floor(next() * 3)]).join("");
    let stopped = 0;
    for (let round = 0; round < 3000; round++) {
      const stops = Array.from({ length: 1 + Math.floor(next() * 4) }, () => word(1 + Math.floor(next() * 6)));
      const text = word(Math.floor(next() * 30));
      const expected = defined(stops, text);
      expect(run(stops, cut(text, next)), JSON.stringify({ stops, text })).toEqual(expected);
      if (expected.stop !== undefined) stopped++;
    }
    expect(stopped).toBeGreaterThan(300);
    expect(stopped).toBeLessThan(2900);
  });

  test("refuses an empty stop", () => {
    expect(() => new StopStrings(["a", ""])).toThrow(InvalidRequestError);
  });
});
