import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GenerationEvent } from "../../src/api/types.ts";
import { InvalidRequestError } from "../../src/errors.ts";
import { createServer, type LLMServer } from "../../src/server.ts";
import { type Client, client, jsonEvents } from "../support/http.ts";
import * as openai from "../support/openai-schemas.ts";
import { finish, ScriptedLLM, say } from "../support/scripted-llm.ts";

const messages = [{ role: "user", content: "Hi" }];
const chat = "/v1/chat/completions";
const schema = { type: "object", properties: { a: { type: "integer" } }, required: ["a"] };

let llm: ScriptedLLM;
let server: LLMServer;
let api: Client;

beforeAll(async () => {
  llm = new ScriptedLLM();
  server = createServer(llm, { rehearse: false, onError: () => {} });
  await server.ready();
  api = client(await server.listen({ port: 0 }));
});
afterAll(() => server.close());

const call = (index: number, argumentsDelta: string, more: object = {}) =>
  ({ kind: "toolCall", index, id: `call_${index}`, argumentsDelta, tokenIds: [index], ...more }) as GenerationEvent;
const whole = (index: number, text: string) =>
  ({ id: `call_${index}`, type: "function", function: { name: "f", arguments: text } }) as const;

/** A call that breaks off in its arguments, and a good one. */
async function* oneOfTwo(): AsyncGenerator<GenerationEvent, void, void> {
  yield { kind: "prefill", done: 5, total: 5 };
  yield call(0, "", { name: "f" });
  yield call(0, '{"a":');
  yield call(0, "", { isWithdrawn: true });
  yield { kind: "text", text: '<tool_call>{"name": "f", "arguments": {"a": oops', tokenIds: [7] };
  yield call(1, "", { name: "f" });
  yield call(1, '{"a":');
  yield call(1, " 1}");
  yield finish("<tool_call>…", { reason: "tool_calls", toolCalls: [whole(1, '{"a": 1}')] });
}

/** Cut in its arguments. */
async function* cut(): AsyncGenerator<GenerationEvent, void, void> {
  yield call(0, "", { name: "f" });
  yield call(0, '{"a":');
  yield call(0, "", { isWithdrawn: true });
  yield { kind: "text", text: '<tool_call>{"name": "f", "arguments": {"a":', tokenIds: [7] };
  yield finish('<tool_call>{"name": "f", "arguments": {"a":', { reason: "length" });
}

async function* refuse(field: string, message: string): AsyncGenerator<GenerationEvent, void, void> {
  yield { kind: "prefill", done: 0, total: 5 };
  throw new InvalidRequestError(field, message);
}

const tool = (more: object = {}) => ({ type: "function", function: { name: "f", parameters: schema, ...more } });

async function deltas(body: object) {
  const chunks = jsonEvents(await api.stream(chat, { messages, return_token_ids: true, ...body }));
  return chunks.map((chunk) => {
    const { choices } = chunk as { choices: { token_ids?: number[] }[] };
    return { ...openai.chatChunk.parse(chunk).choices[0], token_ids: choices[0].token_ids };
  });
}

describe("a call of a stream", () => {
  it("that is withdrawn was never told; those after it count from 0", async () => {
    llm.script = oneOfTwo;
    const choices = await deltas({ tools: [tool()] });
    const calls = choices.flatMap(({ delta }) => delta.tool_calls ?? []);
    expect(calls.map(({ index, id }) => [index, id])).toEqual([
      [0, "call_1"],
      [0, undefined],
      [0, undefined],
    ]);
    expect(calls.map((part) => part.function.arguments).join("")).toBe('{"a": 1}');
    expect(choices.map(({ delta }) => delta.content ?? "").join("")).toContain("oops");
    // No token is lost.
    expect(choices.flatMap(({ token_ids }) => token_ids ?? [])).toEqual([0, 0, 0, 7, 1, 1, 1]);
  });

  it("comes as it is written where a grammar holds it", async () => {
    let release!: () => void;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    llm.script = async function* () {
      yield call(0, "", { name: "f" });
      yield call(0, '{"a":');
      await held;
      yield call(0, "1}");
      yield finish("", { reason: "tool_calls", toolCalls: [whole(0, '{"a":1}')] });
    };
    const reply = await api.post(chat, { messages, tools: [tool({ strict: true })], stream: true });
    let text = "";
    for await (const part of reply.body!) {
      text += new TextDecoder().decode(part);
      if (text.includes('{\\"a\\":')) release();
    }
    expect(text).toContain('"finish_reason":"tool_calls"');
  });

  it("that is cut is text, or, where a grammar held it, unfinished", async () => {
    llm.script = cut;
    const free = await deltas({ tools: [tool()] });
    expect(free.flatMap(({ delta }) => delta.tool_calls ?? [])).toEqual([]);
    expect(free.map(({ delta }) => delta.content ?? "").join("")).toContain("<tool_call>");
    const firm = await deltas({ tools: [tool()], tool_choice: "required" });
    expect(firm.flatMap(({ delta }) => delta.tool_calls ?? [])).toHaveLength(2);
    expect(firm.map(({ delta }) => delta.content ?? "").join("")).toBe("");
    for (const choices of [free, firm]) expect(choices.at(-1)!.finish_reason).toBe("length");
  });

  it("that breaks off although a grammar held it ends the stream with an error", async () => {
    llm.script = async function* () {
      yield call(0, '{"a":', { name: "f" });
      yield call(0, "", { isWithdrawn: true });
      yield finish("<tool_call>…");
    };
    const events = jsonEvents(await api.stream(chat, { messages, tools: [tool()], tool_choice: "required" }));
    expect(openai.errorBody.parse(events.at(-1)).error.code).toBe("malformed_call");
    expect(JSON.stringify(events)).not.toContain('"finish_reason":"stop"');
  });
});

describe("strict tools reach the model", () => {
  it.each([
    [chat, { messages, tools: [tool({ strict: true })] }],
    ["/v1/responses", { input: "Hi", tools: [{ type: "function", name: "f", parameters: schema, strict: true }] }],
    ["/v1/messages", { messages, max_tokens: 5, tools: [{ name: "f", input_schema: schema, strict: true }] }],
  ])("%s", async (path, body) => {
    llm.script = () => say("Hello");
    await api.json(path, body);
    expect(llm.params.tools![0].function).toMatchObject({ name: "f", parameters: schema, strict: true });
  });
});

const asSchema = { kind: "schema", schema };
const asRegex = { kind: "regex", pattern: "a+" };
const asGrammar = { kind: "grammar", grammar: 'root ::= "a"' };
const asChoice = { kind: "choice", choices: ["a", "b"] };
const responseFormat = { type: "json_schema", json_schema: { name: "x", schema, strict: true } };

describe("a format reaches the model, and an error names its field", () => {
  it.each<[string, string, object, object]>([
    ["response_format.json_schema.schema", chat, { response_format: responseFormat }, asSchema],
    ["response_format.schema", chat, { response_format: { type: "json_object", schema } }, asSchema],
    ["response_format", chat, { response_format: { type: "json_object" } }, { kind: "json" }],
    ["structured_outputs.json", chat, { structured_outputs: { json: schema } }, asSchema],
    ["structured_outputs.json_object", chat, { structured_outputs: { json_object: true } }, { kind: "json" }],
    ["structured_outputs.regex", chat, { structured_outputs: { regex: "a+" } }, asRegex],
    ["structured_outputs.choice", chat, { structured_outputs: { choice: ["a", "b"] } }, asChoice],
    ["structured_outputs.grammar", chat, { structured_outputs: { grammar: 'root ::= "a"' } }, asGrammar],
    ["guided_json", chat, { guided_json: JSON.stringify(schema) }, asSchema],
    ["guided_json_object", chat, { guided_json_object: true }, { kind: "json" }],
    ["guided_regex", chat, { guided_regex: "a+" }, asRegex],
    ["guided_choice", chat, { guided_choice: ["a", "b"] }, asChoice],
    ["guided_grammar", chat, { guided_grammar: 'root ::= "a"' }, asGrammar],
    ["regex", chat, { regex: "a+" }, asRegex],
    ["ebnf", chat, { ebnf: 'root ::= "a"' }, asGrammar],
    ["grammar", chat, { grammar: 'root ::= "a"' }, asGrammar],
    ["json_schema", chat, { json_schema: schema }, asSchema],
    ["guided_regex", "/v1/completions", { prompt: "x", guided_regex: "a+" }, asRegex],
    ["sampling_params.regex", "/generate", { text: "x", sampling_params: { regex: "a+" } }, asRegex],
    [
      "text.format",
      "/v1/responses",
      { input: "x", text: { format: { type: "json_schema", name: "x", schema } } },
      asSchema,
    ],
    [
      "output_config.format",
      "/v1/messages",
      { max_tokens: 5, output_config: { format: { type: "json_schema", schema } } },
      asSchema,
    ],
    ["output_format", "/v1/messages", { max_tokens: 5, output_format: { type: "json_schema", schema } }, asSchema],
  ])("%s of %s", async (field, path, fields, format) => {
    llm.script = () => say("Hello");
    await api.json(path, { messages, ...fields });
    expect(llm.params.format).toEqual(format);
    llm.script = () => refuse("format.schema", "this is no JSON Schema.");
    const reply = await api.post(path, { messages, ...fields });
    expect(reply.status).toBe(400);
    const { error } = await reply.json();
    expect(error.message).toContain(`${field}: this is no JSON Schema.`);
    if (!path.endsWith("messages")) expect(error.param).toBe(field);
  });
});

it.each<[string, string, object, string]>([
  ["maxTokens", chat, { max_completion_tokens: 5 }, "max_completion_tokens"],
  ["maxTokens", chat, { max_tokens: 5 }, "max_tokens"],
  ["maxTokens", "/v1/responses", { input: "x", max_output_tokens: 5 }, "max_output_tokens"],
  ["maxTokens", "/generate", { text: "x", sampling_params: { max_new_tokens: 5 } }, "sampling_params.max_new_tokens"],
  ["thinkingBudget", chat, { thinking_token_budget: 5 }, "thinking_token_budget"],
  ["logprobs", chat, { top_logprobs: 5 }, "top_logprobs"],
  ["topP", chat, { top_p: 5 }, "top_p"],
  ["tools.f.parameters", chat, { tools: [tool({ name: "e" }), tool()] }, "tools[1].function.parameters"],
  [
    "tools.f.parameters",
    "/v1/responses",
    { input: "x", tools: [{ type: "function", name: "f", parameters: {} }] },
    "tools[0].parameters",
  ],
  ["messages[0].content", "/v1/responses", { input: "x" }, "input"],
])("calls %s of %s %j by its own name", async (given, path, fields, field) => {
  llm.script = () => refuse(given, "it is wrong.");
  const { error } = (await (await api.post(path, { messages, ...fields })).json()) as { error: { param: string } };
  expect(error.param).toBe(field);
});

it("refuses what it cannot hold a reply to", async () => {
  for (const [body, param] of [
    [{ structured_outputs: { structural_tag: "{}" } }, "structured_outputs.structural_tag"],
    [{ response_format: { type: "structural_tag" } }, "response_format.type"],
    [{ guided_json: "{" }, "guided_json"],
  ] as const) {
    const reply = await api.post(chat, { messages, ...body });
    expect(reply.status).toBe(400);
    expect(openai.errorBody.parse(await reply.json()).error.param).toBe(param);
  }
});
