import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type { ChatMessage, OutputFormat } from "../../src/api/types.ts";
import { InvalidRequestError } from "../../src/errors.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { testAdapterName } from "../support/gpu.ts";

const question: ChatMessage[] = [{ role: "user", content: "Name a city and its country." }];
const schema = {
  type: "object",
  properties: { city: { type: "string", maxLength: 12 }, country: { enum: ["France", "Italy"] } },
  required: ["city", "country"],
};

let llm: LocalLLM;

beforeAll(async () => {
  llm = await LocalLLM.load(nodePlatform, "demo/public/models/sprout", {
    device: { adapter: testAdapterName, dtype: "f32" },
    maxContext: 512,
    maxSequences: 4,
  });
}, 300_000);

afterAll(() => llm.dispose());

const answer = (format: OutputFormat, params = {}) =>
  llm.chat(question, { format, temperature: 0, maxTokens: 80, ...params }).finish();

describe("Sprout, held to a format", () => {
  test.each<[OutputFormat, (text: string) => void]>([
    [{ kind: "choice", choices: ["Rome", "Oslo"] }, (text) => expect(["Rome", "Oslo"]).toContain(text)],
    [{ kind: "regex", pattern: "[A-Z]{3}-[0-9]{4}" }, (text) => expect(text).toMatch(/^[A-Z]{3}-[0-9]{4}$/)],
    [{ kind: "grammar", grammar: 'root ::= "(" [a-z]{3,5} ")"' }, (text) => expect(text).toMatch(/^\([a-z]{3,5}\)$/)],
  ])("%o", async (format, check) => {
    const { text, reason } = await answer(format);
    check(text);
    expect(reason).toBe("stop");
  });

  test("writes JSON of a schema, drawn by chance and beside others", async () => {
    const free = llm.chat(question, { temperature: 0, maxTokens: 12 }).text();
    const alone = await free;
    const [company, ...replies] = await Promise.all([
      llm.chat(question, { temperature: 0, maxTokens: 12 }).text(),
      ...[1, 2, 3].map((seed) =>
        answer({ kind: "schema", schema }, { temperature: 0.8, topK: 20, seed, maxTokens: 200 }),
      ),
    ]);
    expect(company).toBe(alone);
    for (const { text, reason } of replies) {
      expect(reason).toBe("stop");
      expect(JSON.parse(text)).toEqual({
        city: expect.any(String),
        country: expect.stringMatching(/^(France|Italy)$/),
      });
    }
  });

  test("ends also where the model's own ending was to be ignored", async () => {
    const { text, reason } = await answer({ kind: "choice", choices: ["Rome"] }, { ignoreEos: true });
    expect({ text, reason }).toEqual({ text: "Rome", reason: "stop" });
  });

  test("says what is wrong with a format, and fails nobody else", async () => {
    const other = llm.chat(question, { temperature: 0, maxTokens: 8 }).finish();
    await expect(answer({ kind: "regex", pattern: "(open" })).rejects.toThrow(InvalidRequestError);
    await expect(
      answer({ kind: "regex", pattern: "((a|b|c|d)*(a|b)*)*x" }, { maxTokens: 400, logitBias: { 8194: -100 } }),
    ).rejects.toThrow(/ambiguous/);
    expect((await other).tokenIds.length).toBeGreaterThan(0);
  });
});
