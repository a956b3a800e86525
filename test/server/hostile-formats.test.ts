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

/** A streamed reply; told of each piece that comes. */
async function streamed(body: object, onPiece: () => void = () => {}): Promise<string> {
  const reply = await api.post(chat, { messages, temperature: 0, max_tokens: 30, stream: true, ...body });
  let text = "";
  for await (const piece of reply.body!.pipeThrough(new TextDecoderStream())) {
    text += piece;
    onPiece();
  }
  return text.replace(/"(id|created|system_fingerprint)":[^,]*,/g, "");
}

it("goes on with the replies of others while it makes a grammar of a schema that takes long", async () => {
  const others = [{ ignore_eos: true }, { response_format: schemaFormat(schema) }];
  const before = await Promise.all(others.map((body) => streamed(body)));
  const leave = new AbortController();
  const body = { messages, response_format: schemaFormat(hostileSchema) };
  let hasEnded = false;
  const hostile = api
    .post(chat, body, { signal: leave.signal })
    .catch(() => {})
    .finally(() => {
      hasEnded = true;
    });
  // Pieces that came while it was being made: it ends when that has taken too long, at the latest.
  const meanwhile = [0, 0];
  const during = others.map((body, i) =>
    streamed(body, () => {
      if (!hasEnded) meanwhile[i]++;
    }),
  );
  expect(await Promise.all(during)).toEqual(before);
  leave.abort();
  await hostile;
  for (const [i, text] of before.entries()) {
    expect(text).toContain("[DONE]");
    expect(meanwhile[i]).toBeGreaterThan(3);
  }
});
