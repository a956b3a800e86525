import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";
import { LocalLLM } from "../../src/api/llm.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { createServer, type LLMServer } from "../../src/server.ts";
import * as anthropic from "../support/anthropic-schemas.ts";
import { testAdapterName } from "../support/gpu.ts";
import { type Client, client, dataOf, jsonEvents } from "../support/http.ts";
import * as openai from "../support/openai-schemas.ts";

const messages = [{ role: "user", content: "What is the capital of France?" }];
const greedy = { temperature: 0, max_tokens: 8 };

let llm: LocalLLM;
let server: LLMServer;
let api: Client;

beforeAll(async () => {
  const loading = LocalLLM.load(nodePlatform, "demo/public/models/sprout", {
    device: { adapter: testAdapterName, dtype: "f32" },
    maxContext: 256,
    maxSequences: 4,
    cacheTokens: 1024,
  });
  server = createServer(loading, { servedModelNames: ["Sprout/Sprout-28M", "sprout"] });
  api = client(await server.listen({ port: 0 }));
  const early = await api.get("/health");
  expect(early.status).toBe(503);
  expect(await early.json()).toMatchObject({ error: { code: "loading", type: "overloaded_error" } });
  expect((await api.post("/v1/completions", { prompt: "x" })).status).toBe(503);
  await server.ready();
  llm = await loading;
}, 300_000);

afterAll(async () => {
  await server.close();
  await llm.dispose();
});

const chat = async (body: object) =>
  openai.chatCompletion.parse(await api.json("/v1/chat/completions", { messages, ...greedy, ...body }));
const complete = async (body: object) =>
  openai.completion.parse(await api.json("/v1/completions", { prompt: "The sun", ...greedy, ...body }));

async function chatStream(body: object) {
  const data = await api.stream("/v1/chat/completions", { messages, ...greedy, ...body });
  return z.array(openai.chatChunk).parse(jsonEvents(data));
}

describe("status", () => {
  it("is healthy once the longest step has run", async () => {
    expect((await api.get("/health")).status).toBe(200);
    expect((await api.get("/health_generate")).status).toBe(200);
  });

  it("lists the model under its names", async () => {
    const list = openai.modelList.parse(await (await api.get("/v1/models")).json());
    expect(list.data.map(({ id }) => id)).toEqual(["Sprout/Sprout-28M", "sprout"]);
    const one = await (await api.get("/v1/models/Sprout/Sprout-28M")).json();
    expect(one).toMatchObject({ id: "Sprout/Sprout-28M", max_model_len: 256 });
  });

  it("counts what it did, under vLLM's names", async () => {
    const before = await metric("vllm:generation_tokens_total");
    const { usage } = await chat({});
    expect((await metric("vllm:generation_tokens_total")) - before).toBeGreaterThanOrEqual(usage.completion_tokens - 1);
    expect(await metric("vllm:num_requests_running")).toBe(0);
    expect(await metric("vllm:num_requests_waiting")).toBe(0);
    expect(
      await metric('vllm:request_success_total{model_name="Sprout/Sprout-28M",engine="0",finished_reason="stop"}'),
    ).toBeGreaterThan(0);
  });
});

async function metric(name: string): Promise<number> {
  const text = await (await api.get("/metrics")).text();
  const line = text.split("\n").find((candidate) => candidate.startsWith(name));
  return Number(line?.split(" ").at(-1));
}

describe("chat completions", () => {
  it("answers", async () => {
    const { choices, usage, model } = await chat({ model: "sprout" });
    expect(choices[0]).toMatchObject({
      message: { content: "Paris is the capital of France." },
      finish_reason: "stop",
    });
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens);
    expect(model).toBe("sprout");
  });

  it("streams the same text: role first, usage last", async () => {
    const whole = await chat({});
    const chunks = await chatStream({ stream_options: { include_usage: true } });
    expect(chunks[0].choices[0].delta).toEqual({ role: "assistant", content: "" });
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe(
      whole.choices[0].message.content,
    );
    expect(chunks.at(-2)!.choices[0]).toMatchObject({ delta: {}, finish_reason: "stop" });
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: whole.usage.completion_tokens } });
    expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`)).size).toBe(1);
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
  });

  it("writes each event as one data line and a blank one", async () => {
    const reply = await api.post("/v1/chat/completions", { messages, ...greedy, max_tokens: 2, stream: true });
    expect(reply.headers.get("content-type")).toBe("text/event-stream");
    expect(reply.headers.get("x-accel-buffering")).toBe("no");
    expect(await reply.text()).toMatch(/^(data: \{[^\n]*\}\n\n)+data: \[DONE\]\n\n$/);
  });

  it("reads the prompt of several replies once", async () => {
    const content =
      "Please tell me, in as few words as you can, what the capital of Italy is, and why it is where it is.";
    const before = (await llm.stats()).tokens.prompt;
    const { usage } = await chat({ messages: [{ role: "user", content }], n: 3, max_tokens: 2 });
    const read = (await llm.stats()).tokens.prompt - before;
    expect(usage.prompt_tokens).toBeGreaterThan(20);
    expect(read).toBeLessThan(usage.prompt_tokens + 2 * 10);
  });

  it("gives several replies, each with its own seed", async () => {
    const body = { n: 2, temperature: 1, top_k: 0, top_p: 1, seed: 5, max_tokens: 6 };
    const { choices, usage } = await chat(body);
    expect(choices.map(({ index }) => index)).toEqual([0, 1]);
    expect(choices[0].message.content).not.toBe(choices[1].message.content);
    expect(usage.prompt_tokens).toBe((await chat({})).usage.prompt_tokens);
    const again = await chat({ ...body, n: 1 });
    expect(again.choices[0].message.content).toBe(choices[0].message.content);
    const chunks = await chatStream(body);
    const second = chunks.filter(({ choices: [choice] }) => choice?.index === 1);
    expect(second.map(({ choices: [choice] }) => choice.delta.content ?? "").join("")).toBe(choices[1].message.content);
  });

  it("reports log-probabilities whose tokens make the text", async () => {
    const { choices } = await chat({ logprobs: true, top_logprobs: 2, max_tokens: 4 });
    const tokens = choices[0].logprobs!.content!;
    expect(tokens.map(({ token }) => token).join("")).toBe(choices[0].message.content);
    expect(tokens[0].top_logprobs[0]).toMatchObject({ token: tokens[0].token, logprob: tokens[0].logprob });
    expect(tokens[0].top_logprobs).toHaveLength(2);
    const chunks = await chatStream({ top_logprobs: 1, max_tokens: 4 });
    expect(chunks.flatMap(({ choices: [choice] }) => choice.logprobs?.content ?? []).length).toBe(tokens.length);
  });

  it("stops at texts and tokens", async () => {
    const atText = await chat({ stop: [" of"] });
    expect(atText.choices[0]).toMatchObject({ message: { content: "Paris is the capital" }, stop_reason: " of" });
    const shown = await chat({ stop: " of", include_stop_str_in_output: true });
    expect(shown.choices[0].message.content).toBe("Paris is the capital of");
    const [of] = await llm.tokenize(" of");
    expect((await chat({ stop_token_ids: [of] })).choices[0]).toMatchObject({
      message: { content: "Paris is the capital" },
      stop_reason: of,
    });
  });

  it("obeys a bias", async () => {
    const [paris] = await llm.tokenize("Paris");
    const { choices } = await chat({ logit_bias: { [paris]: -100 }, max_tokens: 2 });
    expect(choices[0].message.content).not.toContain("Paris");
  });

  it("goes on with the last message", async () => {
    const last = { role: "assistant", content: "Paris is the" };
    const { choices } = await chat({ messages: [...messages, last], continue_final_message: true, max_tokens: 2 });
    expect(choices[0].message.content).toBe(" capital of");
  });

  it("counts what it knew of the prompt", async () => {
    await chat({});
    expect((await chat({})).usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(0);
    await api.post("/flush_cache", "");
    expect((await chat({})).usage.prompt_tokens_details.cached_tokens).toBe(0);
  });

  it("gives the same greedy text to many at once, streamed or not", async () => {
    const alone = (await chat({})).choices[0].message.content;
    const texts = await Promise.all(
      Array.from({ length: 6 }, async (_, i) =>
        i % 2 === 0
          ? (await chat({})).choices[0].message.content
          : (await chatStream({})).map(({ choices }) => choices[0].delta.content ?? "").join(""),
      ),
    );
    expect(new Set(texts)).toEqual(new Set([alone]));
  });

  it("takes a tool's answer without an id, and instructions anywhere", async () => {
    const turns = [
      ...messages,
      { role: "tool", name: "lookup", content: "Paris" },
      { role: "developer", content: "Be brief." },
    ];
    expect(
      (await chat({ messages: turns, max_tokens: 1, tools: [], unknown_field: 1, stop: null })).choices,
    ).toHaveLength(1);
  });

  it("warns of another model's name", async () => {
    const reply = await api.post("/v1/chat/completions", { model: "gpt-x", messages, ...greedy, max_tokens: 1 });
    expect(reply.headers.get("x-sluice-warning")).toContain("gpt-x");
    expect(await reply.json()).toMatchObject({ model: "Sprout/Sprout-28M" });
  });
});

describe("completions", () => {
  it("takes texts, token ids and lists of both", async () => {
    const [text] = (await complete({})).choices;
    const ids = await llm.tokenize("The sun");
    for (const prompt of [ids, ["The sun"], [ids]])
      expect((await complete({ prompt })).choices[0].text).toBe(text.text);
    const both = await complete({ prompt: ["The sun", "Once upon"], n: 2 });
    expect(both.choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    expect(both.choices[1].text).toBe(text.text);
    expect(both.choices[2].text).not.toBe(text.text);
  });

  it("echoes the prompt with its scores", async () => {
    const { choices, usage } = await complete({ echo: true, logprobs: 1, max_tokens: 2 });
    const { tokens, token_logprobs, text_offset, top_logprobs } = choices[0].logprobs!;
    expect(tokens.join("")).toBe(choices[0].text);
    expect(choices[0].text.startsWith("The sun")).toBe(true);
    expect(token_logprobs[0]).toBeNull();
    expect(token_logprobs.slice(1).every((value) => value !== null && value < 0)).toBe(true);
    expect(text_offset[1]).toBe(tokens[0].length);
    expect(top_logprobs[0]).toBeNull();
    expect(usage!.completion_tokens).toBe(2);
  });

  it("scores a prompt as it was drawn", async () => {
    const drawn = (await complete({ logprobs: 1, max_tokens: 3 })).choices[0];
    const scored = await complete({ prompt: `The sun${drawn.text}`, echo: true, logprobs: 1, max_tokens: 0 });
    const { token_logprobs } = scored.choices[0].logprobs!;
    for (const [i, value] of drawn.logprobs!.token_logprobs.entries()) {
      expect(token_logprobs[token_logprobs.length - 3 + i]).toBeCloseTo(value!, 3);
    }
    expect(scored.usage!.completion_tokens).toBe(0);
  });

  it("reads a prompt and writes nothing", async () => {
    expect((await complete({ max_tokens: 0 })).choices[0]).toMatchObject({ text: "", finish_reason: "length" });
  });

  it("streams with echo", async () => {
    const whole = await complete({ echo: true });
    const data = await api.stream("/v1/completions", { prompt: "The sun", ...greedy, echo: true });
    const chunks = z.array(openai.completion).parse(jsonEvents(data));
    expect(chunks.map(({ choices }) => choices[0].text).join("")).toBe(whole.choices[0].text);
  });
});

describe("tokens", () => {
  it("go to text and back", async () => {
    const { tokens, count } = (await api.json("/tokenize", { prompt: "Grüße, 世界" })) as {
      tokens: number[];
      count: number;
    };
    expect(tokens).toHaveLength(count);
    expect(await api.json("/detokenize", { tokens })).toEqual({ prompt: "Grüße, 世界", content: "Grüße, 世界" });
  });

  it("shows the prompt that a chat becomes, and how many tokens it has", async () => {
    const { prompt } = (await api.json("/apply-template", { messages })) as { prompt: string };
    expect(prompt).toBe("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n");
    const { count } = (await api.json("/tokenize", { messages })) as { count: number };
    expect(count).toBe((await chat({})).usage.prompt_tokens);
    expect(await api.json("/v1/messages/count_tokens", { messages })).toEqual({ input_tokens: count });
  });
});

describe("the other interfaces say the same", () => {
  it("Responses", async () => {
    const body = { input: "What is the capital of France?", temperature: 0, max_output_tokens: 8 };
    const whole = openai.response.parse(await api.json("/v1/responses", body));
    expect(whole.output[0]).toMatchObject({ type: "message", content: [{ text: "Paris is the capital of France." }] });
    const reply = await api.post("/v1/responses", { ...body, stream: true });
    const events = dataOf(await reply.text()).map((data) => openai.responseEvent.parse(JSON.parse(data)));
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual(events.map((_, i) => i));
    const types = events.map(({ type }) => type).filter((type) => type !== "response.output_text.delta");
    expect(types).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
    expect(events.at(-1)).toMatchObject({
      response: { output: [{ content: [{ text: "Paris is the capital of France." }] }] },
    });
    const cut = openai.response.parse(await api.json("/v1/responses", { ...body, max_output_tokens: 2 }));
    expect(cut).toMatchObject({ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } });
  });

  it("Anthropic's messages", async () => {
    const body = {
      model: "claude",
      messages,
      max_tokens: 8,
      temperature: 0,
      system: [{ type: "text", text: "Be kind." }],
    };
    const whole = anthropic.message.parse(await api.json("/v1/messages", body));
    const reply = await api.post("/v1/messages", { ...body, stream: true });
    const text = await reply.text();
    const events = dataOf(text).map((data) => anthropic.messageEvent.parse(JSON.parse(data)));
    expect(text).toMatch(/^event: message_start\ndata: /);
    expect(events.map(({ type }) => type).filter((type) => type !== "content_block_delta")).toEqual([
      "message_start",
      "content_block_start",
      "content_block_stop",
      "message_delta",
      "message_stop",
    ]);
    const deltas = events.map((event) => (event.type === "content_block_delta" ? event.delta : undefined));
    const streamed = deltas.map((delta) => (delta?.type === "text_delta" ? delta.text : "")).join("");
    expect(whole.content).toEqual([{ type: "text", text: streamed, citations: null }]);
    const stopped = anthropic.message.parse(
      await api.json("/v1/messages", { ...body, system: undefined, stop_sequences: [" of"] }),
    );
    expect(stopped).toMatchObject({ stop_reason: "stop_sequence", stop_sequence: " of" });
  });

  it("SGLang's generate", async () => {
    const sampling_params = { temperature: 0, max_new_tokens: 4 };
    const { text } = (await complete({ max_tokens: 4 })).choices[0];
    const one = (await api.json("/generate", { text: "The sun", sampling_params })) as Record<string, unknown>;
    expect(one).toMatchObject({
      text,
      meta_info: { finish_reason: { type: "length", length: 4 }, completion_tokens: 4 },
    });
    const data = await api.stream("/generate", { text: "The sun", sampling_params });
    const texts = (jsonEvents(data) as { text: string }[]).map((event) => event.text);
    expect(texts.at(-1)).toBe(text);
    expect(texts.every((part, i) => part.startsWith(texts[Math.max(0, i - 1)]))).toBe(true);
    const scored = await api.json("/generate", {
      text: ["The sun was", "The sun xylophone"],
      sampling_params: { max_new_tokens: 0, temperature: 0 },
      return_logprob: true,
      logprob_start_len: 2,
      return_text_in_logprobs: true,
    });
    const sums = (scored as { meta_info: { input_token_logprobs: [number, number, string][] } }[]).map(
      ({ meta_info }) => meta_info.input_token_logprobs.reduce((sum, [logprob]) => sum + logprob, 0),
    );
    expect(sums[0]).toBeGreaterThan(sums[1]);
    expect(await (await api.get("/get_model_info")).json()).toMatchObject({ is_generation: true });
    expect(await (await api.get("/get_server_info")).json()).toMatchObject({ context_length: 256 });
  });
});

it("says by how much a prompt is too long", async () => {
  const reply = await api.post("/v1/chat/completions", { messages: [{ role: "user", content: "word ".repeat(400) }] });
  expect(reply.status).toBe(400);
  const { error } = openai.errorBody.parse(await reply.json());
  expect(error).toMatchObject({ code: "context_length_exceeded", n_ctx: 256 });
  expect(error.message).toMatch(/maximum context length is 256 tokens, and the prompt has 4\d\d/);
});

it("answers no malformed request with a 500, and hangs at none", async () => {
  const random = randomNumbers(7);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)];
  const odd = [
    null,
    -1,
    0,
    1e300,
    2 ** 53,
    1.5,
    "",
    "x",
    [],
    {},
    [[]],
    [null],
    true,
    "\ud800",
    { type: "x" },
    [-1],
    "a\u0000",
  ];
  const fields = [
    ...[
      "messages",
      "prompt",
      "input",
      "text",
      "max_tokens",
      "temperature",
      "top_p",
      "top_k",
      "min_p",
      "n",
      "stop",
      "seed",
    ],
    ...[
      "logprobs",
      "top_logprobs",
      "logit_bias",
      "tools",
      "tool_choice",
      "stream",
      "stream_options",
      "response_format",
    ],
    ...[
      "stop_token_ids",
      "echo",
      "system",
      "sampling_params",
      "chat_template_kwargs",
      "continue_final_message",
      "model",
    ],
  ];
  const paths = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages", "/generate", "/tokenize"];
  const valid = { messages, prompt: "x", input: "x", text: "x", max_tokens: 1, sampling_params: { max_new_tokens: 1 } };
  const wrong: string[] = [];
  for (let i = 0; i < 200; i++) {
    const body: Record<string, unknown> = { ...valid };
    for (let k = 0; k < 1 + random() * 3; k++) body[pick(fields)] = pick(odd);
    if (random() < 0.3) body.messages = [{ role: pick(["user", "assistant", "tool", "x", null]), content: pick(odd) }];
    // Whatever is asked for ends soon.
    if (!Number.isInteger(body.max_tokens) || (body.max_tokens as number) > 4)
      body.max_tokens = pick([2, "x", -3, 1.5]);
    if (typeof body.n === "number") body.n = pick([2, 0, 1e9]);
    let text = JSON.stringify(body);
    if (random() < 0.2) text = text.slice(0, Math.floor(random() * text.length));
    if (random() < 0.05) text = "[".repeat(50_000);
    const path = pick(paths);
    const reply = await api.post(path, text, { signal: AbortSignal.timeout(120_000) });
    const answer = await reply.text();
    if (reply.status >= 500) wrong.push(`${path} ${reply.status} ${answer} for ${text.slice(0, 300)}`);
  }
  expect(wrong).toEqual([]);
  expect((await chat({})).choices[0].message.content).toContain("Paris");
});

function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
