import { describe, expect, it } from "vitest";
import type { CallFormat } from "../../src/chat/chat-format.ts";
import { ReplyLexer } from "../../src/chat/reply-lexer.ts";
import { ReplyParser, type ReplyPart, type Tag } from "../../src/chat/reply-parser.ts";
import { random } from "../support/random.ts";
import { openTokenizer, SPROUT } from "../tokenizer/tokenizers.ts";
import { type HostileReply, hostileReply } from "./hostile-replies.ts";
import { tools } from "./tools.ts";

const SAMPLES = 400;
const ALL_TAGS: Tag[] = ["think", "endThink", "call", "endCall"];
const sprout = openTokenizer(SPROUT);

/** Pieces of a text as tokens, cut anywhere, also within characters. No tag is a token. */
class ByteTokens {
  readonly #tokens: Uint8Array[] = [];
  readonly ids: number[] = [];

  constructor(text: string, lengthOf: () => number) {
    const bytes = new TextEncoder().encode(text);
    for (let from = 0; from < bytes.length; ) {
      const to = from + lengthOf();
      this.ids.push(this.#tokens.push(bytes.slice(from, to)) - 1);
      from = to;
    }
  }

  bytes = (id: number) => this.#tokens[id];
  isSpecial = () => false;
  tokenId = () => undefined;
}

function parse(
  format: CallFormat,
  { startsThinking }: HostileReply,
  tokens: ByteTokens | typeof sprout,
  ids: readonly number[],
) {
  const lexer = new ReplyLexer(tokens, { tags: ALL_TAGS });
  const parser = new ReplyParser({ format, startsThinking, tools, newId: () => "id" });
  const parts: ReplyPart[] = [];
  for (const id of ids) parts.push(...parser.push(lexer.push(id)));
  parts.push(...parser.push(lexer.flush()), ...parser.end());
  const calls = parser.toolCalls.map((call) => ({
    name: call.function.name,
    arguments: JSON.parse(call.function.arguments),
  }));
  return { result: { reasoning: parser.reasoning, text: parser.text, calls }, streamed: streamed(parts), parser };
}

/** What a reader of the parts has in the end. */
function streamed(parts: readonly ReplyPart[]) {
  const texts = { reasoning: "", text: "" };
  const calls = new Map<number, { name: string; arguments: string }>();
  const withdrawn: string[] = [];
  for (const part of parts) {
    if (part.kind !== "toolCall") {
      expect(part.text).not.toBe("");
      texts[part.kind] += part.text;
      continue;
    }
    if (part.name !== undefined) {
      expect(part.index).toBe(calls.size + withdrawn.length);
      calls.set(part.index, { name: part.name, arguments: "" });
    }
    calls.get(part.index)!.arguments += part.argumentsDelta;
    if (!part.isWithdrawn) continue;
    withdrawn.push(calls.get(part.index)!.arguments);
    calls.delete(part.index);
  }
  return { ...texts, calls: [...calls.values()], withdrawn };
}

describe.each(["json", "xml"] as const)("%s", (format) => {
  const samples = Array.from({ length: SAMPLES }, (_, seed) => hostileReply(format, seed));

  it("is understood, whatever stands in it", () => {
    for (const sample of samples) {
      const tokens = new ByteTokens(sample.reply, () => 1e6);
      const { reasoning, text, calls } = sample;
      expect(parse(format, sample, tokens, tokens.ids).result, sample.reply).toEqual({ reasoning, text, calls });
    }
  });

  it("gives the same however it is cut", () => {
    const next = random(7);
    for (const sample of samples) {
      const whole = new ByteTokens(sample.reply, () => 1e6);
      const expected = parse(format, sample, whole, whole.ids);
      for (const longest of [1, 3, 12, 60]) {
        const tokens = new ByteTokens(sample.reply, () => 1 + Math.floor(next() * longest));
        const cut = parse(format, sample, tokens, tokens.ids);
        expect(cut.result, sample.reply).toEqual(expected.result);
        expect(cut.streamed, sample.reply).toEqual(expected.streamed);
      }
    }
  });

  it("gives the same from a model's own tokens, tags among them", () => {
    for (const sample of samples) {
      const { reasoning, text, calls } = sample;
      const { result, streamed, parser } = parse(format, sample, sprout, sprout.encode(sample.reply));
      expect(result, sample.reply).toEqual({ reasoning, text, calls });
      expect(streamed).toMatchObject({ reasoning, text, calls: parser.toolCalls.map((call) => call.function) });
    }
  });

  it("never breaks, whatever it is cut and sewn together from", () => {
    const next = random(8);
    for (const [i, sample] of samples.entries()) {
      const other = samples[(i + 1) % SAMPLES].reply;
      const reply = sample.reply.slice(0, next() * sample.reply.length) + other.slice(next() * other.length);
      const runs = [1, 20, 1e6].map((longest) => {
        const tokens = new ByteTokens(reply, () => 1 + Math.floor(next() * longest));
        return parse(format, sample, tokens, tokens.ids);
      });
      for (const run of runs) {
        expect(run.result, reply).toEqual(runs[0].result);
        expect(run.streamed, reply).toEqual(runs[0].streamed);
      }
      for (const { arguments: args } of runs[0].result.calls) expect(args, reply).toEqual(expect.any(Object));
    }
  });
});
