import { afterAll, beforeAll, expect, it } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { createServer, type LLMServer } from "../../src/server.ts";
import { buildCli } from "../support/cli.ts";
import { testAdapterName } from "../support/gpu.ts";
import { builtGrammarThread, hostileSchema } from "../support/grammar-thread.ts";
import { type Client, client } from "../support/http.ts";

const chat = "/v1/chat/completions";
const messages = [{ role: "user", content: "Name a city and its country." }];
const schemaFormat = (schema: object) => ({ type: "json_schema", json_schema: { name: "x", schema } });
const schema = {
  type: "object",
  properties: { city: { type: "string", maxLength: 12 }, country: { enum: ["France", "Italy"] } },
  required: ["city", "country"],
};

let llm: LocalLLM;
let server: LLMServer;
let api: Client;

beforeAll(async () => {
  await buildCli();
  llm = await LocalLLM.load({ ...nodePlatform, startGrammars: builtGrammarThread }, "demo/public/models/sprout", {
    device: { adapter: testAdapterName, dtype: "f32" },
    ...{ maxContext: 256, maxSequences: 4, cacheTokens: 1024 },
  });
  server = createServer(llm);
  await server.ready();
  api = client(await server.listen({ port: 0 }));
}, 300_000);

afterAll(async () => {
  await server.close({ timeoutMs: 0 });
  await llm.dispose();
});

/** Milliseconds between the chunks of a streamed reply: the middle one, and the longest. */
async function chunkTimes(body: object): Promise<{ median: number; longest: number; text: string }> {
  const reply = await api.post(chat, { messages, temperature: 0, max_tokens: 30, stream: true, ...body });
  const times: number[] = [];
  let text = "";
  for await (const bytes of reply.body!) {
    text += new TextDecoder().decode(bytes as Uint8Array);
    times.push(performance.now());
  }
  const gaps = times.slice(1).map((time, i) => time - times[i]);
  const sorted = gaps.toSorted((a, b) => a - b);
  return { median: sorted[sorted.length >> 1], longest: sorted.at(-1)!, text };
}

it("goes on with the replies of others while it makes a grammar of a schema that takes long", async () => {
  const free = { ignore_eos: true };
  const held = { response_format: schemaFormat(schema), temperature: 0 };
  const both = () => Promise.all([chunkTimes(free), chunkTimes(held)]);
  await both();
  const before = await both();
  const leave = new AbortController();
  const body = { messages, response_format: schemaFormat(hostileSchema) };
  let hasEnded = false;
  const hostile = api
    .post(chat, body, { signal: leave.signal })
    .catch(() => {})
    .finally(() => {
      hasEnded = true;
    });
  const startMs = performance.now();
  const during = await both();
  const totalMs = performance.now() - startMs;
  expect(hasEnded).toBe(false);
  leave.abort();
  await hostile;
  for (const [i, { text }] of during.entries()) {
    expect(text).toContain("[DONE]");
    expect(text.replace(/"(id|created|system_fingerprint)":[^,]*,/g, "")).toBe(
      before[i].text.replace(/"(id|created|system_fingerprint)":[^,]*,/g, ""),
    );
  }
  // Who stalls does so for as long as the schema takes.
  const longest = Math.max(...during.map((one) => one.longest));
  expect(longest).toBeLessThan(totalMs / 2);
  const shown = (times: typeof before) => times.map(({ median }) => median.toFixed(0)).join(" and ");
  console.log(
    `Between chunks, free and held: ${shown(before)} ms, beside the schema ${shown(during)} ms, at most ${longest.toFixed(0)} ms.`,
  );
});
