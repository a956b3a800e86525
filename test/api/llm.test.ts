import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type { Platform } from "../../src/api/platform.ts";
import type { ChatMessage, GenerationEvent } from "../../src/api/types.ts";
import { ContextLengthError, InvalidRequestError } from "../../src/errors.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { testAdapterName } from "../support/gpu.ts";
import { fixtureFolder } from "../support/reference-model.ts";

const SPROUT = "demo/public/models/sprout";
const QUESTION: ChatMessage[] = [{ role: "user", content: "What is the capital of France?" }];

let llm: LocalLLM;

beforeAll(async () => {
  llm = await LocalLLM.load(nodePlatform, SPROUT, {
    device: { adapter: testAdapterName, dtype: "f32" },
    maxContext: 1024,
  });
}, 300_000);

afterAll(() => llm.dispose());

async function collect(events: AsyncIterable<GenerationEvent>): Promise<GenerationEvent[]> {
  const all: GenerationEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

test("files are closed once the model is loaded, and again when it is disposed of", async () => {
  let closes = 0;
  const openFiles: Platform["openFiles"] = async (...args) => {
    const files = await nodePlatform.openFiles(...args);
    const close = files.close!.bind(files);
    files.close = () => {
      closes++;
      return close();
    };
    return files;
  };
  const tiny = await LocalLLM.load({ ...nodePlatform, openFiles }, fixtureFolder("qwen3-next-tiny"), {
    device: { reference: true },
  });
  expect(closes).toBe(1);
  await tiny.dispose();
  // What goes on behind a closed source's back, as storing the rest of a model does, ends when it is closed again.
  expect(closes).toBe(2);
});

describe("chat", () => {
  test("streams text that the finish repeats", async () => {
    const events = await collect(llm.chat(QUESTION, { temperature: 0, maxTokens: 30 }));
    const finish = events.at(-1)!;
    if (finish.kind !== "finish") throw new Error("no finish");
    const texts = events.filter((e) => e.kind === "text");
    expect(texts.map((e) => e.text).join("")).toBe(finish.text);
    expect(texts.flatMap((e) => e.tokenIds)).toEqual(finish.tokenIds);
    expect(finish.text).toContain("Paris");
    expect(finish.reason).toBe("stop");
    expect(finish.usage.promptTokens).toBeGreaterThan(5);
  });

  test("a second turn goes on from the first, and gives what a fresh state gives", async () => {
    const first = await llm.chat(QUESTION, { temperature: 0, maxTokens: 30 }).finish();
    const messages: ChatMessage[] = [
      ...QUESTION,
      { role: "assistant", content: first.text },
      { role: "user", content: "And of Italy?" },
    ];
    const warm = await llm.chat(messages, { temperature: 0, maxTokens: 20 }).finish();
    expect(warm.usage.cachedTokens).toBeGreaterThanOrEqual(first.usage.promptTokens);
    // Other conversations in between take the state away.
    for (const text of ["Once", "upon", "a time", "there", "was"]) {
      await llm.generate(text, { temperature: 0, maxTokens: 3 }).finish();
    }
    const cold = await llm.chat(messages, { temperature: 0, maxTokens: 20 }).finish();
    expect(cold.usage.cachedTokens).toBe(0);
    expect(warm.tokenIds).toEqual(cold.tokenIds);
  });

  test("a system prompt is read once, whatever is asked after it", async () => {
    const content =
      "You are a helpful assistant who answers in a few words, and always in the language of the question.";
    const ask = (question: string) =>
      llm
        .chat([{ role: "system", content }, ...QUESTION.map((m) => ({ ...m, content: question }))], { maxTokens: 2 })
        .finish();
    expect((await ask("Name a colour.")).usage.cachedTokens).toBe(0);
    const tokens = (await llm.tokenize(content)).length;
    expect((await ask("What is the capital of Italy?")).usage.cachedTokens).toBeGreaterThan(tokens);
  });

  test("regenerating reads only the end of the prompt again", async () => {
    const once = await llm.chat(QUESTION, { temperature: 0, maxTokens: 10 }).finish();
    const again = await llm.chat(QUESTION, { temperature: 0, maxTokens: 10 }).finish();
    expect(again.tokenIds).toEqual(once.tokenIds);
    expect(again.usage.cachedTokens).toBeGreaterThan(0);
    expect(again.usage.cachedTokens).toBeLessThan(again.usage.promptTokens);
  });

  test("the same seed gives the same reply, another one another", async () => {
    const params = { temperature: 1, topK: 0, topP: 1, maxTokens: 25 };
    const story: ChatMessage[] = [{ role: "user", content: "Tell me a short story." }];
    const a = await llm.chat(story, { ...params, seed: 1 }).text();
    const b = await llm.chat(story, { ...params, seed: 1 }).text();
    const c = await llm.chat(story, { ...params, seed: 2 }).text();
    expect(b).toBe(a);
    expect(c).not.toBe(a);
  });

  test("an abort ends the reply and leaves a state that is still right", async () => {
    const controller = new AbortController();
    const events = llm.generate("Once upon a time there was", {
      temperature: 0,
      maxTokens: 50,
      signal: controller.signal,
    });
    let texts = 0;
    let finish: GenerationEvent | undefined;
    for await (const event of events) {
      if (event.kind === "text" && ++texts === 4) controller.abort();
      finish = event;
    }
    expect(finish).toMatchObject({ kind: "finish", reason: "abort" });
    const partial = (finish as Extract<GenerationEvent, { kind: "finish" }>).tokenIds;
    const whole = await llm.generate("Once upon a time there was", { temperature: 0, maxTokens: 12 }).finish();
    expect(whole.tokenIds.slice(0, partial.length)).toEqual(partial.slice(0, 12));
  });

  test("leaving the loop lets the next request in", async () => {
    for await (const event of llm.generate("One, two, three", { maxTokens: 50 })) if (event.kind === "text") break;
    expect(await llm.generate("One, two", { maxTokens: 2 }).finish()).toMatchObject({ reason: "length" });
  });

  test("a stop text ends the reply and is not part of it", async () => {
    const free = await llm.generate("Once upon a time", { temperature: 0, maxTokens: 24 }).finish();
    const word = free.text.trim().split(" ")[3];
    const stopped = await llm.generate("Once upon a time", { temperature: 0, maxTokens: 24, stop: word }).finish();
    expect(stopped.reason).toBe("stop");
    expect(stopped.text).toBe(free.text.slice(0, free.text.indexOf(word)));
  });

  test("log-probabilities come with each token", async () => {
    const events = await collect(
      llm.generate("The capital of France is", { temperature: 0, maxTokens: 3, logprobs: 3 }),
    );
    const logprobs = events.flatMap((e) => (e.kind === "text" ? (e.logprobs ?? []) : []));
    expect(logprobs).toHaveLength(3);
    for (const { id, logprob, top } of logprobs) {
      expect(top).toHaveLength(3);
      expect(top[0]).toMatchObject({ id, logprob });
      expect(logprob).toBeLessThanOrEqual(0);
    }
  });
});

test("a text is scored as its tokens were when they were drawn", async () => {
  const prompt = await llm.tokenize("The quick brown fox jumps over the lazy dog. ".repeat(6));
  const events = await collect(llm.generate(prompt, { temperature: 0, maxTokens: 6, logprobs: 2, ignoreEos: true }));
  const drawn = events.flatMap((e) => (e.kind === "text" ? (e.logprobs ?? []) : []));
  const ids = [...prompt, ...drawn.map(({ id }) => id)];
  const scored = await llm.score(ids, { logprobs: 2 });
  expect(drawn.length).toBeGreaterThan(0);
  expect(ids.length).toBeGreaterThan(64);
  expect(scored.map(({ id }) => id)).toEqual(ids.slice(1));
  for (const [i, { logprob, top }] of scored.slice(-drawn.length).entries()) {
    expect(logprob).toBeCloseTo(drawn[i].logprob, 3);
    expect(top.map(({ id }) => id)).toEqual(drawn[i].top.map(({ id }) => id));
  }
  // Nothing of it has to be read again.
  const { usage } = await llm.generate(ids, { maxTokens: 1 }).finish();
  expect(usage.cachedTokens).toBe(ids.length - 1);
});

describe("refused", () => {
  test.each([
    ["an empty prompt", () => llm.generate(""), InvalidRequestError],
    ["no token id", () => llm.generate([1e9]), InvalidRequestError],
    ["a long prompt", () => llm.generate(Array.from({ length: 2000 }, () => 5)), ContextLengthError],
    ["a temperature", () => llm.generate("x", { temperature: -1 }), InvalidRequestError],
    ["a top-p", () => llm.generate("x", { topP: 0 }), InvalidRequestError],
    ["a role", () => llm.chat([{ role: "wizard" as "user", content: "x" }]), InvalidRequestError],
  ])("%s", async (_, request, kind) => {
    await expect(request().finish()).rejects.toBeInstanceOf(kind);
  });
});
