import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";
import type { GenerationEvent } from "../../src/api/types.ts";
import { NumericalError } from "../../src/errors.ts";
import { createServer, type LLMServer, type ServerOptions } from "../../src/server.ts";
import * as anthropic from "../support/anthropic-schemas.ts";
import { gate } from "../support/gate.ts";
import { type Client, client, dataOf, jsonEvents } from "../support/http.ts";
import * as openai from "../support/openai-schemas.ts";
import { finish, ScriptedLLM, say, untilAborted } from "../support/scripted-llm.ts";

const messages = [{ role: "user", content: "Hi" }];
const servers: LLMServer[] = [];

async function serve(llm: ScriptedLLM, options: ServerOptions = {}): Promise<Client> {
  const server = createServer(llm, { rehearse: false, ...options });
  servers.push(server);
  await server.ready();
  return client(await server.listen({ port: 0 }));
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close({ timeoutMs: 0 })));
});

const tools = [{ type: "function", function: { name: "weather", parameters: { type: "object" } } }];

/** Thinks, says something, and calls two functions. */
async function* thinkAndCall(): AsyncGenerator<GenerationEvent, void, void> {
  const call = (id: string, json: string) =>
    ({ id, type: "function", function: { name: "weather", arguments: json } }) as const;
  const tokenIds = [1];
  yield { kind: "prefill", done: 0, total: 5 };
  yield { kind: "reasoning", text: "Let me ", tokenIds };
  yield { kind: "reasoning", text: "see.", tokenIds };
  yield { kind: "text", text: "Looking.", tokenIds };
  yield { kind: "toolCall", index: 0, id: "call_a", name: "weather", argumentsDelta: "", tokenIds };
  yield { kind: "toolCall", index: 0, id: "call_a", argumentsDelta: '{"city":', tokenIds };
  yield { kind: "toolCall", index: 0, id: "call_a", argumentsDelta: '"Rome"}', tokenIds };
  yield { kind: "toolCall", index: 1, id: "call_b", name: "weather", argumentsDelta: "{}", tokenIds };
  yield finish("Looking.", {
    reason: "tool_calls",
    reasoning: "Let me see.",
    toolCalls: [call("call_a", '{"city":"Rome"}'), call("call_b", "{}")],
  });
}

describe("thoughts and calls", () => {
  let api: Client;
  let llm: ScriptedLLM;
  let server: LLMServer;
  beforeAll(async () => {
    llm = new ScriptedLLM(thinkAndCall);
    server = createServer(llm, { rehearse: false });
    await server.ready();
    api = client(await server.listen({ port: 0 }));
  });
  afterAll(() => server.close());

  it("are parts of a chat completion", async () => {
    const whole = openai.chatCompletion.parse(await api.json("/v1/chat/completions", { messages, tools }));
    expect(whole.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: {
        content: "Looking.",
        reasoning_content: "Let me see.",
        reasoning: "Let me see.",
        tool_calls: [{ id: "call_a", function: { arguments: '{"city":"Rome"}' } }, { id: "call_b" }],
      },
    });
  });

  it("are deltas of its stream", async () => {
    const data = await api.stream("/v1/chat/completions", { messages, tools });
    const deltas = z
      .array(openai.chatChunk)
      .parse(jsonEvents(data))
      .map(({ choices }) => choices[0].delta);
    expect(deltas.map(({ reasoning_content }) => reasoning_content ?? "").join("")).toBe("Let me see.");
    expect(deltas.map(({ reasoning }) => reasoning ?? "").join("")).toBe("Let me see.");
    const calls = deltas.flatMap(({ tool_calls }) => tool_calls ?? []);
    expect(calls[0]).toEqual({
      index: 0,
      id: "call_a",
      type: "function",
      function: { name: "weather", arguments: "" },
    });
    const parts = calls.filter(({ index }) => index === 0).map((call) => call.function.arguments);
    expect(parts.join("")).toBe('{"city":"Rome"}');
    expect(calls.at(-1)).toMatchObject({ index: 1, id: "call_b" });
  });

  it("leave thoughts out where nobody wants them", async () => {
    const body = { messages, tools, include_reasoning: false };
    expect(JSON.stringify(await api.json("/v1/chat/completions", body))).not.toContain("Let me");
    expect((await api.stream("/v1/chat/completions", body)).join()).not.toContain("Let me");
  });

  it("are items of a response", async () => {
    const body = { input: "Hi", tools: [{ type: "function", name: "weather", parameters: {} }] };
    const whole = openai.response.parse(await api.json("/v1/responses", body));
    expect(whole.output.map(({ type }) => type)).toEqual(["reasoning", "message", "function_call", "function_call"]);
    const reply = await api.post("/v1/responses", { ...body, stream: true });
    const events = dataOf(await reply.text()).map((data) => openai.responseEvent.parse(JSON.parse(data)));
    const strip = (output: readonly object[]) => output.map((item) => ({ ...item, id: undefined }));
    const last = events.at(-1) as { response: { output: object[] } };
    expect(strip(last.response.output)).toEqual(strip(whole.output));
    expect(events.filter(({ type }) => type === "response.output_item.added")).toHaveLength(4);
  });

  it("are blocks of a message", async () => {
    const body = { messages, max_tokens: 9, tools: [{ name: "weather", input_schema: { type: "object" } }] };
    const whole = anthropic.message.parse(await api.json("/v1/messages", body));
    expect(whole.stop_reason).toBe("tool_use");
    expect(whole.content).toMatchObject([
      { type: "thinking", thinking: "Let me see." },
      { type: "text", text: "Looking." },
      { type: "tool_use", id: "call_a", name: "weather", input: { city: "Rome" } },
      { type: "tool_use", id: "call_b", input: {} },
    ]);
    const reply = await api.post("/v1/messages", { ...body, stream: true });
    const events = dataOf(await reply.text()).map((data) => anthropic.messageEvent.parse(JSON.parse(data)));
    const starts = events.filter((event) => event.type === "content_block_start");
    expect(starts.map(({ content_block }) => content_block.type)).toEqual(["thinking", "text", "tool_use", "tool_use"]);
    const json = events.flatMap((event) =>
      event.type === "content_block_delta" && event.index === 2 && event.delta.type === "input_json_delta"
        ? [event.delta.partial_json]
        : [],
    );
    expect(JSON.parse(json.join(""))).toEqual({ city: "Rome" });
  });

  it("come back as a conversation in each interface", async () => {
    const expected = [
      { role: "user", content: "Hi" },
      {
        role: "assistant",
        reasoning_content: "Hm.",
        tool_calls: [{ id: "call_a", function: { name: "weather", arguments: '{"city":"Rome"}' } }],
      },
      { role: "tool", tool_call_id: "call_a", content: "Sunny" },
    ];
    const call = { id: "call_a", type: "function", function: { name: "weather", arguments: '{"city":"Rome"}' } };
    const assistant = { role: "assistant", content: null, reasoning: "Hm.", tool_calls: [call] };
    const answer = { role: "tool", tool_call_id: "call_a", content: "Sunny" };
    await api.json("/v1/chat/completions", { messages: [...messages, assistant, answer] });
    expect(llm.messages).toMatchObject(expected);
    await api.json("/v1/responses", {
      input: [
        { role: "user", content: [{ type: "input_text", text: "Hi" }] },
        { type: "reasoning", id: "rs_1", summary: [], content: [{ type: "reasoning_text", text: "Hm." }] },
        { type: "function_call", call_id: "call_a", name: "weather", arguments: '{"city":"Rome"}' },
        { type: "function_call_output", call_id: "call_a", output: "Sunny" },
      ],
    });
    expect(llm.messages).toMatchObject([
      { role: "user", content: [{ type: "text", text: "Hi" }] },
      ...expected.slice(1),
    ]);
    await api.json("/v1/messages", {
      max_tokens: 5,
      messages: [
        ...messages,
        {
          role: "assistant",
          content: [
            { type: "thinking", thinking: "Hm.", signature: "" },
            { type: "tool_use", id: "call_a", name: "weather", input: { city: "Rome" } },
          ],
        },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "call_a", content: "Sunny" }] },
      ],
    });
    const [user, turn, result] = expected;
    const function_ = { name: "weather", arguments: { city: "Rome" } };
    expect(llm.messages).toMatchObject([
      user,
      { ...turn, tool_calls: [{ id: "call_a", function: function_ }] },
      result,
    ]);
  });

  it("puts all instructions in front", async () => {
    const turns = [
      { role: "system", content: "A" },
      { role: "user", content: "Hi" },
      { role: "developer", content: [{ type: "text", text: "B" }] },
    ];
    await api.json("/v1/chat/completions", { messages: turns });
    expect(llm.messages).toEqual([
      { role: "system", content: "A\n\nB" },
      { role: "user", content: "Hi" },
    ]);
  });

  it("passes every parameter on", async () => {
    await api.json("/v1/chat/completions", {
      messages,
      tools,
      tool_choice: { type: "function", function: { name: "weather" } },
      parallel_tool_calls: false,
      max_completion_tokens: 7,
      max_tokens: 9,
      temperature: 0.5,
      top_p: 0.9,
      top_k: -1,
      min_p: 0.1,
      presence_penalty: 0.2,
      frequency_penalty: 0.3,
      repeat_penalty: 1.1,
      seed: -1,
      stop: "x",
      stop_token_ids: [3],
      ignore_eos: true,
      logit_bias: { "5": -2 },
      top_logprobs: 3,
      reasoning_effort: "none",
      thinking_token_budget: 20,
      chat_template_kwargs: { style: "short" },
      response_format: { type: "json_schema", json_schema: { name: "a", schema: { type: "object" } } },
      add_generation_prompt: true,
    });
    expect(llm.params).toMatchObject({
      tools: [{ function: { name: "weather" } }],
      toolChoice: { function: { name: "weather" } },
      parallelToolCalls: false,
      maxTokens: 7,
      temperature: 0.5,
      topP: 0.9,
      topK: 0,
      minP: 0.1,
      presencePenalty: 0.2,
      frequencyPenalty: 0.3,
      repetitionPenalty: 1.1,
      seed: 2 ** 32 - 1,
      stop: ["x"],
      stopTokenIds: [3],
      ignoreEos: true,
      logitBias: { 5: -2 },
      logprobs: 3,
      thinking: false,
      thinkingBudget: 20,
      templateVariables: { style: "short", reasoning_effort: "none" },
      format: { kind: "schema", schema: { type: "object" } },
      addGenerationPrompt: true,
    });
  });

  it.each([
    [{ response_format: { type: "json_object" } }, { kind: "json" }],
    [{ structured_outputs: { regex: "a+" } }, { kind: "regex", pattern: "a+" }],
    [{ guided_choice: ["a", "b"] }, { kind: "choice", choices: ["a", "b"] }],
    [{ guided_json: '{"type":"object"}' }, { kind: "schema", schema: { type: "object" } }],
    [{ ebnf: 'root ::= "a"' }, { kind: "grammar", grammar: 'root ::= "a"' }],
    [{ response_format: { type: "text" } }, undefined],
  ])("holds a reply to %j", async (fields, format) => {
    await api.json("/v1/chat/completions", { messages, ...fields });
    expect(llm.params.format).toEqual(format);
  });
});

describe("long waits", () => {
  it("are filled with comments that say how far the prompt has been read", async () => {
    const told = gate();
    const api = await serve(
      new ScriptedLLM(async function* () {
        yield { kind: "prefill", done: 0, total: 100 };
        yield { kind: "prefill", done: 64, total: 100 };
        await told.promise;
        yield* say("Hello");
      }),
      { heartbeatMs: 20 },
    );
    const { body } = await api.post("/v1/chat/completions", { messages, stream: true });
    let text = "";
    for await (const bytes of body!.pipeThrough(new TextDecoderStream())) {
      text += bytes;
      if (text.includes(": prefill")) told.open();
    }
    expect(text).toMatch(/^data: \{[^\n]*"role":"assistant"[^\n]*\n\n(: prefill 64\/100\n\n)+data: /);
    expect(jsonEvents(dataOf(text)).length).toBe(3);
  });

  it("are told at once to who streams, before a turn comes", async () => {
    const release = gate();
    const script = async function* () {
      await release.promise;
      yield* say("Hello");
    };
    const api = await serve(new ScriptedLLM(script), { heartbeatMs: 20, earlyHeadersMs: 10 });
    const reply = await api.post("/v1/chat/completions", { messages, stream: true });
    expect(reply.status).toBe(200);
    release.open();
    expect(await reply.text()).toContain("Hello");
  });

  it("begin an unstreamed reply with white space", async () => {
    let release = () => {};
    const script = async function* () {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      yield* say("Hello");
    };
    const api = await serve(new ScriptedLLM(script), { heartbeatMs: 20, earlyBodyMs: 20 });
    for (const path of ["/v1/chat/completions", "/v1/messages"]) {
      const { body } = await api.post(path, { messages, max_tokens: 5 });
      let text = "";
      for await (const bytes of body!.pipeThrough(new TextDecoderStream())) {
        text += bytes;
        // The reply comes only when white space has.
        if (text.length >= 2) release();
      }
      expect(text).toMatch(/^ {2,}\{.*Hello/);
      JSON.parse(text);
    }
  });
});

describe("failures", () => {
  const failing = (when?: Promise<void>) =>
    new ScriptedLLM(async function* () {
      yield { kind: "prefill", done: 0, total: 5 };
      yield { kind: "text", text: "Hel", tokenIds: [1] };
      await when;
      throw new NumericalError("not a number");
    });
  const quiet = { onError: () => {} };

  it("in the midst of a stream are an event, then [DONE]", async () => {
    const api = await serve(failing(), quiet);
    const events = jsonEvents(await api.stream("/v1/chat/completions", { messages }));
    expect(openai.errorBody.parse(events.at(-1)).error).toMatchObject({
      type: "server_error",
      message: "not a number",
    });
    expect(JSON.stringify(events)).not.toMatch(/"finish_reason":"/);
  });

  it("have each interface's own form", async () => {
    const api = await serve(failing(), quiet);
    const text = await (await api.post("/v1/messages", { messages, max_tokens: 5, stream: true })).text();
    const last = text.trim().split("\n\n").at(-1)!;
    expect(last.startsWith("event: error\n")).toBe(true);
    anthropic.anthropicError.parse(JSON.parse(dataOf(last)[0]));
    const response = await (await api.post("/v1/responses", { input: "Hi", stream: true })).text();
    expect(response).toContain("event: response.failed\n");
    expect(response).toMatch(/event: error\ndata: [^\n]*\n\n$/);
  });

  it("of a whole reply have a status, and say nothing of the inside", async () => {
    const errors: unknown[] = [];
    const llm = new ScriptedLLM(async function* () {
      yield* say();
      throw new Error("a secret path");
    });
    const api = await serve(llm, { onError: (error) => errors.push(error) });
    const reply = await api.post("/v1/chat/completions", { messages });
    expect(reply.status).toBe(500);
    expect(JSON.stringify(openai.errorBody.parse(await reply.json()))).not.toContain("secret");
    expect(errors).toHaveLength(1);
  });

  it("of a late whole reply are its body", async () => {
    const late = gate();
    const api = await serve(failing(late.promise), { ...quiet, earlyBodyMs: 5 });
    const reply = await api.post("/v1/chat/completions", { messages });
    expect(reply.status).toBe(200);
    late.open();
    openai.errorBody.parse(JSON.parse(await reply.text()));
  });

  it("of loading are told to every request", async () => {
    const server = createServer(Promise.reject(new Error("no such file")));
    await expect(server.ready()).rejects.toThrow("no such file");
    const reply = await server.fetch(new Request("http://x/health"));
    expect(reply.status).toBe(503);
    expect((await reply.json()).error.message).toContain("no such file");
  });
});

describe("a client that leaves", () => {
  it.each([
    ["/v1/chat/completions", { messages, stream: true }],
    ["/v1/chat/completions", { messages }],
    ["/v1/chat/completions", { messages, stream: true, n: 3 }],
    ["/v1/completions", { prompt: "x", stream: true }],
    ["/v1/messages", { messages, max_tokens: 5, stream: true }],
    ["/v1/responses", { input: "x" }],
  ])("ends its reply: %s %j", async (path, body) => {
    const llm = new ScriptedLLM(untilAborted);
    const api = await serve(llm, { heartbeatMs: 10 });
    const controller = new AbortController();
    const reply = api.post(path, body, { signal: controller.signal }).then((response) => response.text());
    reply.catch(() => {});
    const running = async () =>
      /num_requests_running\{[^}]*\} (\d+)/.exec(await (await api.get("/metrics")).text())![1];
    const count = String("n" in body ? body.n : 1);
    await expect.poll(running, { interval: 10 }).toBe(count);
    controller.abort();
    await expect.poll(() => llm.params.signal!.aborted, { interval: 5 }).toBe(true);
    await expect.poll(running, { interval: 10 }).toBe("0");
    expect(await (await api.get("/metrics")).text()).toContain(`finished_reason="abort"} ${count}`);
  });
});

describe("limits", () => {
  it("turn away what is too much, with a time to come back", async () => {
    const release = gate();
    const script = async function* () {
      await release.promise;
      yield* say("Hello");
    };
    const api = await serve(new ScriptedLLM(script), { maxRequests: 3, maxRequestsPerClient: 2, retryAfterSeconds: 2 });
    const first = api.post("/v1/chat/completions", { messages, n: 2 });
    await expect.poll(async () => (await api.get("/metrics")).text()).toMatch(/num_requests_waiting\{[^}]*\} 2/);
    const own = await api.post("/v1/chat/completions", { messages });
    expect([own.status, own.headers.get("retry-after")]).toEqual([429, "2"]);
    expect(openai.errorBody.parse(await own.json()).error.type).toBe("rate_limit_error");
    const streamed = await api.post("/v1/messages", { messages, max_tokens: 5, stream: true });
    expect(streamed.status).toBe(429);
    anthropic.anthropicError.parse(await streamed.json());
    release.open();
    expect((await first).status).toBe(200);
    expect((await api.post("/v1/chat/completions", { messages })).status).toBe(200);
  });

  it("of the queue are answered with 503", async () => {
    const release = gate();
    const script = async function* () {
      await release.promise;
      yield* say("Hello");
    };
    const api = await serve(new ScriptedLLM(script), { maxRequests: 1 });
    const first = api.post("/v1/completions", { prompt: "x" });
    await expect.poll(async () => (await api.get("/metrics")).text()).toMatch(/num_requests_waiting\{[^}]*\} 1/);
    const full = await api.post("/v1/completions", { prompt: "x" });
    expect([full.status, full.headers.get("retry-after")]).toEqual([503, "5"]);
    expect(openai.errorBody.parse(await full.json()).error).toMatchObject({
      type: "overloaded_error",
      code: "queue_full",
    });
    expect(await (await api.get("/metrics")).text()).toContain('reason="queue_full"} 1');
    release.open();
    await first;
  });
});

describe("stopping", () => {
  it("lets replies under way end, and takes no others", async () => {
    const release = gate();
    const llm = new ScriptedLLM(async function* () {
      await release.promise;
      yield* say("Hello");
    });
    const server = createServer(llm, { rehearse: false });
    await server.ready();
    const api = client(await server.listen({ port: 0 }));
    const reply = api.post("/v1/chat/completions", { messages });
    await expect.poll(async () => (await api.get("/metrics")).text()).toMatch(/num_requests_waiting\{[^}]*\} 1/);
    const closed = server.close();
    const late = await server.fetch(new Request("http://x/health"));
    expect(late.status).toBe(503);
    release.open();
    expect(openai.chatCompletion.parse(await (await reply).json()).choices[0].message.content).toBe("Hello");
    await closed;
    await expect(api.get("/health")).rejects.toThrow();
  });

  it("ends replies that take too long with an error", async () => {
    const server = createServer(new ScriptedLLM(untilAborted), { rehearse: false });
    await server.ready();
    const api = client(await server.listen({ port: 0 }));
    const reply = await api.post("/v1/chat/completions", { messages, stream: true });
    await server.close({ timeoutMs: 20 });
    expect(jsonEvents(dataOf(await reply.text())).at(-1)).toMatchObject({ error: { code: "stopped" } });
  });
});
