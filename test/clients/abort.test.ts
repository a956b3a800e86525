import OpenAI from "openai";
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { createServer, type LLMServer } from "../../src/server.ts";
import { testAdapterName } from "../support/gpu.ts";

let llm: LocalLLM;
let server: LLMServer;
let openai: OpenAI;

beforeAll(async () => {
  llm = await LocalLLM.load(nodePlatform, "demo/public/models/sprout", {
    device: { adapter: testAdapterName, dtype: "f32" },
    ...{ maxContext: 1024, maxSequences: 2, cacheTokens: 4096, maxBatchTokens: 16 },
  });
  server = createServer(llm, { rehearse: false });
  openai = new OpenAI({ baseURL: `${await server.listen({ port: 0 })}/v1`, apiKey: "EMPTY", maxRetries: 0 });
  await server.ready();
});
afterAll(async () => {
  await server.close({ timeoutMs: 0 });
  await llm.dispose();
});
beforeEach(() => llm.clearCache());

const model = "sprout";
/** Goes on until it is stopped, or the context ends. */
const endless = (prompt: string) =>
  openai.completions.create({
    model,
    prompt,
    stream: true,
    max_tokens: 1000,
    ignore_eos: true,
  } as never) as unknown as ReturnType<typeof stream>;
const stream = (body: OpenAI.CompletionCreateParamsStreaming) => openai.completions.create(body);

async function started(prompt: string) {
  const reply = await endless(prompt);
  const tokens = reply[Symbol.asyncIterator]();
  await tokens.next();
  return { reply, tokens };
}

/** Milliseconds until the engine's counts are as wanted. */
async function until(isSo: (stats: Awaited<ReturnType<LocalLLM["stats"]>>) => boolean): Promise<number> {
  const start = performance.now();
  while (!isSo(await llm.stats())) await new Promise((resolve) => setTimeout(resolve, 1));
  return performance.now() - start;
}

/** What SLUICE_SOAK=1 tells; times are not asserted, since they say more of the machine. */
const tell = (place: string, ms: number) =>
  process.env.SLUICE_SOAK && console.info(`aborted in ${place}: free after ${ms.toFixed(1)} ms`);

it("gives the slot of an aborted reply to who waits, while others are being written", async () => {
  const [first, second] = [await started("The sun"), await started("The moon")];
  const third = started("The sea");
  await until(({ waiting }) => waiting === 1);
  first.reply.controller.abort();
  tell("decode", await until(({ waiting }) => waiting === 0));
  // The second is not done, and has not been stopped.
  const { tokens, reply } = await third;
  expect((await llm.stats()).running).toBe(2);
  expect((await second.tokens.next()).done).toBe(false);
  expect((await tokens.next()).done).toBe(false);
  second.reply.controller.abort();
  reply.controller.abort();
  await until(({ running }) => running === 0);
});

it("forgets who leaves the queue, and lets others go on", async () => {
  const [first, second] = [await started("The sun"), await started("The moon")];
  const abort = new AbortController();
  const body = { model, prompt: "The sea", max_tokens: 1000 };
  const third = openai.completions.create(body, { signal: abort.signal });
  third.catch(() => {});
  await until(({ waiting }) => waiting === 1);
  abort.abort();
  tell("the queue", await until(({ waiting }) => waiting === 0));
  expect((await llm.stats()).running).toBe(2);
  for (const { tokens, reply } of [first, second]) {
    expect((await tokens.next()).done).toBe(false);
    reply.controller.abort();
  }
  await expect(third).rejects.toThrow(/abort/i);
  await until(({ running }) => running === 0);
});

it("stops reading a prompt in its midst", async () => {
  const before = (await llm.stats()).tokens;
  const abort = new AbortController();
  const reply = openai.completions.create({ model, prompt: "The sun was up. ".repeat(150) }, { signal: abort.signal });
  reply.catch(() => {});
  await until(({ tokens }) => tokens.prompt > before.prompt);
  abort.abort();
  tell("prefill", await until(({ running }) => running === 0));
  const after = (await llm.stats()).tokens;
  // Of 900, in some 60 steps.
  expect(after.prompt - before.prompt).toBeLessThan(800);
  expect(after.reply).toBe(before.reply);
  await expect(reply).rejects.toThrow(/abort/i);
});
