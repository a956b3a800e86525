import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type { CompanionMode, GenerateParams, GenerationEvent, LoadOptions } from "../../src/api/types.ts";
import { createServer, type LLMServer } from "../../src/server.ts";
import { ObservedPlatform } from "../support/observed-platform.ts";

const SPROUT = "demo/public/models/sprout";
/** In f32 kernels of both sides round alike. */
const OPTIONS: LoadOptions = { maxContext: 256, device: { dtype: "f32" } };
const MESSAGES = [{ role: "user", content: "Write a story about a fox." }] as const;
const GREEDY: GenerateParams = { temperature: 0, maxTokens: 12 };
const SEEDED: GenerateParams = { temperature: 1, seed: 7, maxTokens: 12 };

const platform = new ObservedPlatform();
let host: LocalLLM;
let server: LLMServer;
let url: string;

beforeAll(async () => {
  host = await LocalLLM.load(platform, SPROUT, { ...OPTIONS, maxSequences: 4, cacheTokens: 1024 });
  server = createServer(host, { apiKeys: ["secret"], onRefusedLink: () => {} });
  url = await server.listen({ port: 0 });
  await server.ready();
}, 300_000);

afterAll(async () => {
  await server?.close({ timeoutMs: 100 });
  await host?.dispose();
});

const lean = (mode: CompanionMode, more: LoadOptions = {}) =>
  LocalLLM.load(platform, SPROUT, { ...OPTIONS, companion: { url, key: "secret", mode }, ...more });

async function eventsOf(llm: LocalLLM, params: GenerateParams): Promise<GenerationEvent[]> {
  const events: GenerationEvent[] = [];
  for await (const event of llm.chat(MESSAGES, params)) {
    if (event.kind !== "prefill") events.push(event.kind === "finish" ? { ...event, usage: {} as never } : event);
  }
  return events;
}

describe("whole requests", () => {
  it("give the events of the model itself", async () => {
    const llm = await lean("requests");
    expect(llm.info.companion).toMatchObject({ url, mode: "requests" });
    for (const params of [
      GREEDY,
      SEEDED,
      { ...GREEDY, logprobs: 2 },
      { ...GREEDY, format: { kind: "json" } as const },
    ]) {
      expect(await eventsOf(llm, params)).toEqual(await eventsOf(host, params));
    }
    const ids = await llm.tokenize("The sun is a star.");
    expect(await llm.score(ids)).toEqual(await host.score(ids));
    expect((await llm.stats()).tokens.reply).toBeGreaterThan(0);
    await llm.dispose();
  });
});

describe("experts", () => {
  it.each([undefined, "25%", "50%"])("give its tokens with %s of them here", async (memory) => {
    const llm = await lean("experts", { memory });
    for (const params of [GREEDY, SEEDED]) expect(await eventsOf(llm, params)).toEqual(await eventsOf(host, params));
    const { companion, paging } = await llm.stats();
    expect(companion!.sums.count).toBeGreaterThan(8 * 11);

    await llm.dispose();
  });
});
