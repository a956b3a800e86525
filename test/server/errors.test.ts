import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createServer, type LLMServer, type ServerOptions } from "../../src/server.ts";
import { type Client, client } from "../support/http.ts";
import { errorBody } from "../support/openai-schemas.ts";
import { ScriptedLLM } from "../support/scripted-llm.ts";

const messages = [{ role: "user", content: "Hi" }];
const chat = "/v1/chat/completions";
const servers: LLMServer[] = [];

async function serve(options: ServerOptions = {}): Promise<Client> {
  const server = createServer(new ScriptedLLM(), { rehearse: false, ...options });
  servers.push(server);
  await server.ready();
  return client(await server.listen({ port: 0 }));
}

afterAll(() => Promise.all(servers.map((server) => server.close())));

describe("errors", () => {
  let api: Client;
  beforeAll(async () => {
    api = await serve({ maxBodyBytes: 2000, strictModel: true, maxChoices: 4 });
  });

  it.each([
    ["no JSON", chat, '{"messages": [{"role": "user", "content": }]}', "invalid_json", "messages[0].content"],
    ["a cut body", chat, '{"model": "x", "mess', "invalid_json", undefined],
    ["an empty body", chat, "", "invalid_json", null],
    ["no object", chat, "[1]", "invalid_type", null],
    ["no messages", chat, {}, "invalid_type", "messages"],
    ["an empty conversation", chat, { messages: [] }, "invalid_value", "messages"],
    ["a wrong role", chat, { messages: [{ role: "x", content: "a" }] }, "invalid_value", "messages[0].role"],
    ["a wrong content", chat, { messages: [{ role: "user", content: 3 }] }, "invalid_value", "messages[0].content"],
    ["a text for a number", chat, { messages, temperature: "hot" }, "invalid_type", "temperature"],
    ["part of a token", chat, { messages, max_tokens: 1.5 }, "invalid_type", "max_tokens"],
    ["a seed beyond int64", chat, { messages, seed: 1e20 }, "invalid_value", "seed"],
    ["no replies", chat, { messages, n: 0 }, "invalid_value", "n"],
    ["too many replies", chat, { messages, n: 5 }, "invalid_value", "n"],
    ["more replies than memory", chat, { messages, n: 1e9 }, "invalid_value", "n"],
    ["as many completions", "/v1/completions", { prompt: ["a", "b"], n: 1e9 }, "invalid_value", "n"],
    ["a bias of no token", chat, { messages, logit_bias: { word: 1 } }, "invalid_value", "logit_bias.word"],
    ["calls without tools", chat, { messages, tool_choice: "required" }, "invalid_value", "tool_choice"],
    [
      "a call of an unknown tool",
      chat,
      { messages, tools: [], tool_choice: { type: "function", function: { name: "f" } } },
      "invalid_value",
      "tool_choice",
    ],
    [
      "a schema that is missing",
      chat,
      { messages, response_format: { type: "json_schema" } },
      "invalid_value",
      "response_format.json_schema",
    ],
    ["no prompt", "/v1/completions", {}, "invalid_value", "prompt"],
    ["a suffix", "/v1/completions", { prompt: "a", suffix: "b" }, "unsupported", "suffix"],
    [
      "a reply that was kept",
      "/v1/responses",
      { input: "a", previous_response_id: "r" },
      "unsupported",
      "previous_response_id",
    ],
    [
      "a tool of the cloud",
      "/v1/responses",
      { input: "a", tools: [{ type: "web_search" }] },
      "invalid_value",
      "tools[0].type",
    ],
    ["no text", "/tokenize", {}, "invalid_value", "prompt"],
  ])("400 for %s", async (_, path, body, code, param) => {
    const reply = await api.post(path, body);
    const { error } = errorBody.parse(await reply.json());
    expect({ status: reply.status, code: error.code }).toEqual({ status: 400, code });
    if (param !== undefined) expect(error.param).toBe(param);
    expect(error.type).toBe("invalid_request_error");
  });

  it("404 for what is not there", async () => {
    for (const reply of [
      await api.get("/v1/nothing"),
      await api.post("/v1/nothing", {}),
      await api.get("/v1/models/x"),
    ]) {
      expect(reply.status).toBe(404);
      expect(errorBody.parse(await reply.json()).error.type).toBe("not_found_error");
    }
    const model = await api.post(chat, { messages, model: "other" });
    expect(model.status).toBe(404);
    expect(errorBody.parse(await model.json()).error).toMatchObject({ code: "model_not_found", param: "model" });
    for (const name of ["Scripted-1B", "scripted-1b", "models/Scripted-1B"]) {
      expect((await api.post(chat, { messages, model: name })).status).toBe(200);
    }
  });

  it("405 with what is allowed", async () => {
    const reply = await api.get(chat);
    expect([reply.status, reply.headers.get("allow")]).toEqual([405, "POST"]);
    errorBody.parse(await reply.json());
  });

  it("413 for a body that is too large, declared or not", async () => {
    const large = JSON.stringify({ messages: [{ role: "user", content: "a".repeat(3000) }] });
    const pieces = new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(large));
        controller.close();
      },
    });
    const streamed = await fetch(api.url + chat, { method: "POST", body: pieces, duplex: "half" } as RequestInit);
    for (const reply of [await api.post(chat, large), streamed]) {
      expect(reply.status).toBe(413);
      expect(errorBody.parse(await reply.json()).error.code).toBe("body_too_large");
    }
  });

  it("415 for a body of another type", async () => {
    const reply = await api.post(chat, "a=b", { headers: { "Content-Type": "application/x-www-form-urlencoded" } });
    expect(reply.status).toBe(415);
  });

  it("501 for embeddings", async () => {
    expect((await api.post("/v1/embeddings", { input: "x" })).status).toBe(501);
  });
});

it("tells Prometheus what the engine counts, each time anew", async () => {
  const api = await serve();
  for (let i = 0; i < 2; i++) {
    const text = await (await api.get("/metrics")).text();
    expect(text).toMatch(/vllm:kv_cache_usage_perc\{[^}]*\} 0\.25\n/);
    expect(text).toMatch(/vllm:num_preemptions_total\{[^}]*\} 3\n/);
    expect(text).toMatch(/vllm:prefix_cache_hits_total\{[^}]*\} 5\n/);
    expect(text).toMatch(/vllm:corrupted_requests_total\{[^}]*\} 2\n/);
    expect(text).toMatch(/vllm:cache_config_info\{[^}]*num_gpu_blocks="4"[^}]*\} 1\n/);
  }
});

it("takes 32 MiB by default", async () => {
  const api = await serve();
  const content = "a".repeat(32 * 2 ** 20);
  expect((await api.post(chat, { messages: [{ role: "user", content }] })).status).toBe(200);
});

describe("keys", () => {
  it("are asked for wherever work is done", async () => {
    const api = await serve({ apiKeys: ["one", "two"] });
    const ask = async (headers: Record<string, string>) => (await api.post(chat, { messages }, { headers })).status;
    expect(await ask({})).toBe(401);
    expect(await ask({ Authorization: "Bearer three" })).toBe(401);
    expect(await ask({ Authorization: "Bearer " })).toBe(401);
    expect(await ask({ Authorization: "Basic b25l" })).toBe(401);
    expect(await ask({ Authorization: "Bearer one" })).toBe(200);
    expect(await ask({ Authorization: "bearer two" })).toBe(200);
    expect(await ask({ "X-Api-Key": "two" })).toBe(200);
    const refused = await api.get("/v1/models");
    expect([refused.status, refused.headers.get("www-authenticate")]).toEqual([401, "Bearer"]);
    expect(errorBody.parse(await refused.json()).error.type).toBe("authentication_error");
    for (const path of ["/health", "/metrics", "/version"]) expect((await api.get(path)).status).toBe(200);
  });

  it("matter to nobody where none are set", async () => {
    const api = await serve();
    for (const value of ["Bearer ", "Bearer EMPTY", "nonsense"]) {
      expect((await api.post(chat, { messages }, { headers: { Authorization: value } })).status).toBe(200);
    }
  });
});

it("knows its routes without their version", async () => {
  const api = await serve();
  expect((await api.get("/models")).status).toBe(200);
  expect((await api.post("/chat/completions", { messages })).status).toBe(200);
  expect(await (await api.post("/messages", {})).json()).toMatchObject({ type: "error" });
});

describe("headers", () => {
  it("name the request, by the client's name where it has one", async () => {
    const api = await serve();
    const own = await api.get("/nothing", { headers: { "X-Request-Id": "mine-1" } });
    expect(own.headers.get("x-request-id")).toBe("mine-1");
    const given = (await api.post(chat, { messages })).headers.get("x-request-id");
    expect(given).toMatch(/^[\da-f-]{36}$/);
  });

  it("let pages ask, or only those of some origins", async () => {
    const preflight = (api: Client, origin: string) =>
      fetch(api.url + chat, {
        method: "OPTIONS",
        headers: {
          Origin: origin,
          "Access-Control-Request-Method": "POST",
          "Access-Control-Request-Headers": "authorization,x-stainless-os",
        },
      });
    const open = await preflight(await serve({ apiKeys: ["one"], allowedOrigins: ["*"] }), "https://a.example");
    expect(open.status).toBe(204);
    expect(open.headers.get("access-control-allow-origin")).toBe("*");
    expect(open.headers.get("access-control-allow-headers")).toContain("x-stainless-os");
    const some = await serve({ allowedOrigins: ["https://a.example"] });
    expect((await preflight(some, "https://a.example")).headers.get("access-control-allow-origin")).toBe(
      "https://a.example",
    );
    expect((await preflight(some, "https://b.example")).headers.get("access-control-allow-origin")).toBeNull();
    const refused = await some.post(chat, {}, { headers: { Origin: "https://a.example" } });
    expect(refused.headers.get("access-control-allow-origin")).toBe("https://a.example");
  });
});

it("answers a program that calls it without a socket", async () => {
  const server = createServer(new ScriptedLLM(), { rehearse: false, version: "1.2.3" });
  await server.ready();
  const body = JSON.stringify({ messages });
  const reply = await server.fetch(new Request("http://x/v1/chat/completions", { method: "POST", body }));
  expect(reply.status).toBe(415);
  const headers = { "Content-Type": "application/json" };
  const good = await server.fetch(new Request("http://x/v1/chat/completions", { method: "POST", body, headers }));
  expect((await good.json()).choices[0].message.content).toBe("Hello");
  expect(await (await server.fetch(new Request("http://x/version"))).json()).toEqual({ version: "1.2.3" });
});
