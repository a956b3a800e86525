import { expect, it } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { createServer } from "../../src/server.ts";
import { testAdapterName } from "../support/gpu.ts";
import { client } from "../support/http.ts";

/** Tokens of the conversation before its second turn. */
const TOKENS = Number(process.env.SLUICE_TURN_TOKENS ?? 32_000);
const FOLDER = process.env.SLUICE_TURN_MODEL ?? "demo/public/models/sprout";
const TIMES = 3;

const chat = "/v1/chat/completions";
const sampling = { temperature: 0, max_tokens: 12, ignore_eos: true };

interface Usage {
  readonly prompt_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

it(`the second turn of a conversation of ${TOKENS} tokens, cold and warm`, { timeout: 3_600_000 }, async () => {
  const llm = await LocalLLM.load(nodePlatform, FOLDER, {
    device: { adapter: testAdapterName },
    ...{ maxContext: TOKENS + 512, maxSequences: 2, cacheTokens: 2 * TOKENS },
  });
  const server = createServer(llm);
  await server.ready();
  const api = client(await server.listen({ port: 0 }));
  const count = async (text: string) => ((await api.json("/tokenize", { prompt: text })) as { count: number }).count;
  const perLine = (await count(Array.from({ length: 70 }, (_, i) => line(i)).join(""))) / 70;
  const text = Array.from({ length: Math.floor((TOKENS - 64) / perLine) }, (_, i) => line(i)).join("");
  const first = [{ role: "user", content: `${text}\nWho came last?` }];
  const { choices } = (await api.json(chat, { ...sampling, messages: first })) as {
    choices: { message: { content: string } }[];
  };
  const second = (i: number) => [
    ...first,
    { role: "assistant", content: choices[0].message.content },
    { role: "user", content: `And who came ${i} before that?` },
  ];

  async function firstToken(messages: object): Promise<Usage & { ms: number }> {
    const start = performance.now();
    const stream_options = { include_usage: true, continuous_usage_stats: true };
    const reply = await api.post(chat, { ...sampling, messages, stream: true, stream_options });
    const decoder = new TextDecoder();
    let [received, ms] = ["", Number.NaN];
    for await (const bytes of reply.body!) {
      received += decoder.decode(bytes as Uint8Array, { stream: true });
      if (Number.isNaN(ms) && /"content":"[^"]/.test(received)) ms = performance.now() - start;
    }
    const last = received.trim().split("\n\n").at(-2)!;
    return { ms, ...(JSON.parse(last.slice("data: ".length)) as { usage: Usage }).usage };
  }

  const warm = [];
  for (let i = 0; i < TIMES; i++) warm.push(await firstToken(second(i + 2)));
  await api.post("/flush_cache", {});
  const cold = await firstToken(second(2));
  const median = warm.map(({ ms }) => ms).sort((a, b) => a - b)[TIMES >> 1];
  console.log(
    `${llm.info.adapter.name}, ${llm.info.label}: ${cold.prompt_tokens} tokens. First token cold ${cold.ms.toFixed(0)} ms, ` +
      `warm ${median.toFixed(0)} ms (${warm[0].prompt_tokens_details.cached_tokens} tokens known): ${(cold.ms / median).toFixed(1)} x sooner`,
  );
  expect(cold.prompt_tokens_details.cached_tokens).toBe(0);
  expect(cold.ms / median).toBeGreaterThan(20);
  await server.close({ timeoutMs: 100 });
  await llm.dispose();
});

const NAMES = ["Anna", "Ben", "Carla", "David", "Emma", "Fritz", "Greta"];
const line = (i: number): string => `${NAMES[i % 7]} came to the house by the river on day ${10_000 + i}.\n`;
