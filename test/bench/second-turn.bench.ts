import { expect, it } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { createServer } from "../../src/server.ts";
import { testAdapterName } from "../support/gpu.ts";
import { type Client, client } from "../support/http.ts";
import { fixtureFolder } from "../support/reference-model.ts";

const TIMES = 3;
const sampling = { temperature: 0, max_tokens: 8, ignore_eos: true };

interface Turns {
  readonly path: string;
  readonly first: object;
  /** Another second turn each time, which goes on from the same first reply. */
  readonly second: (reply: readonly Choice[], i: number) => object;
}

/** What of a chunk's choice is read here. */
interface Choice {
  readonly token_ids?: readonly number[];
  readonly delta?: { readonly content?: string };
}

interface Case {
  readonly name: string;
  readonly folder: string;
  /** Of the conversation before its second turn. */
  readonly tokens: number;
  readonly begin: (api: Client, tokens: number) => Turns | Promise<Turns>;
}

const CASES: Case[] = [
  {
    name: "a tiny model, by token ids",
    folder: fixtureFolder("qwen3-next-tiny"),
    tokens: Number(process.env.SLUICE_TURN_TOKENS ?? 32_000),
    begin(_, tokens) {
      const prompt = Array.from({ length: tokens }, (_, i) => 3 + ((i * 7919) % 300));
      return {
        path: "/v1/completions",
        first: { prompt, return_token_ids: true },
        second: (reply, i) => ({
          prompt: [...prompt, ...reply.flatMap(({ token_ids = [] }) => token_ids), ...Array(20).fill(9 + i)],
        }),
      };
    },
  },
  {
    name: "Sprout, in a chat",
    folder: "demo/public/models/sprout",
    tokens: Number(process.env.SLUICE_TURN_TOKENS ?? 8_000),
    async begin(api, tokens) {
      const { count } = (await api.json("/tokenize", { prompt: lines(70) })) as { count: number };
      const asked = [{ role: "user", content: `${lines(Math.floor((70 * (tokens - 40)) / count))}\nWho came last?` }];
      const question = (i: number) => ({ role: "user", content: `And who came ${i + 2} before that?` });
      return {
        path: "/v1/chat/completions",
        first: { messages: asked },
        second: (reply, i) => {
          const content = reply.map(({ delta }) => delta?.content ?? "").join("");
          return { messages: [...asked, { role: "assistant", content }, question(i)] };
        },
      };
    },
  },
];

it.each(CASES)("the second turn of $tokens tokens, cold and warm: $name", { timeout: 9_000_000 }, async (one) => {
  const { folder, tokens, begin } = one;
  const llm = await LocalLLM.load(nodePlatform, folder, {
    device: { adapter: testAdapterName },
    ...{ maxContext: tokens + 256, maxSequences: 2, cacheTokens: 2 * tokens },
    configOverrides: { max_position_embeddings: 2 ** 16 },
  });
  const server = createServer(llm);
  await server.ready();
  const api = client(await server.listen({ port: 0 }));
  const { path, first, second } = await begin(api, tokens);
  // The first turn is a little shorter than the second would be without what is known of it, so it stands for that.
  const cold = await firstToken(api, path, first);
  console.log(`cold: ${cold.promptTokens} tokens, ${cold.ms.toFixed(0)} ms`);
  const warm = [];
  for (let i = 0; i < TIMES; i++) warm.push(await firstToken(api, path, second(cold.choices, i)));
  const median = warm.map(({ ms }) => ms).sort((a, b) => a - b)[TIMES >> 1];
  console.log(
    `${llm.info.adapter.name}, ${one.name}: first token of ${cold.promptTokens} tokens cold ${cold.ms.toFixed(0)} ms, of ` +
      `${warm[0].promptTokens} tokens, of which ${warm[0].cachedTokens} are known, ${median.toFixed(0)} ms: ` +
      `${(cold.ms / median).toFixed(1)} x sooner`,
  );
  expect(cold.cachedTokens).toBe(0);
  expect(cold.ms / median).toBeGreaterThan(20);
  await server.close({ timeoutMs: 100 });
  await llm.dispose();
});

async function firstToken(api: Client, path: string, body: object) {
  const start = performance.now();
  const reply = await api.post(path, { ...sampling, ...body, stream: true, stream_options: { include_usage: true } });
  const decoder = new TextDecoder();
  let [received, ms] = ["", Number.NaN];
  for await (const bytes of reply.body!) {
    received += decoder.decode(bytes as Uint8Array, { stream: true });
    if (Number.isNaN(ms) && /"(content|text)":"[^"]|"token_ids":\[\d/.test(received)) ms = performance.now() - start;
  }
  const chunks = received
    .split("\n\n")
    .filter((event) => event.startsWith("data: {"))
    .map((event) => JSON.parse(event.slice("data: ".length)) as Chunk);
  const { usage } = chunks.at(-1)!;
  return {
    ms,
    choices: chunks.flatMap(({ choices }) => choices),
    promptTokens: usage!.prompt_tokens,
    cachedTokens: usage!.prompt_tokens_details.cached_tokens,
  };
}

interface Chunk {
  readonly choices: readonly Choice[];
  readonly usage?: {
    readonly prompt_tokens: number;
    readonly prompt_tokens_details: { readonly cached_tokens: number };
  };
}

const NAMES = ["Anna", "Ben", "Carla", "David", "Emma", "Fritz", "Greta"];
const lines = (count: number): string =>
  Array.from(
    { length: count },
    (_, i) => `${NAMES[i % 7]} came to the house by the river on day ${10_000 + i}.\n`,
  ).join("");
