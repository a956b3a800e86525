// What articles on these models have their readers type, one test for each of their usages.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import OpenAI from "openai";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type { GenerationEvent } from "../../src/api/types.ts";
import { wantedGpus } from "../../src/cli/gpus.ts";
import { ServeCommand } from "../../src/cli/serve-command.ts";
import { serveLoadOptions } from "../../src/cli/serve-model.ts";
import { type ServeOptions, serveOptions } from "../../src/cli/serve-options.ts";
import { planServing, planText } from "../../src/cli/serve-plan.ts";
import { Engine } from "../../src/engine/engine.ts";
import { LLM } from "../../src/node.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { createServer, type LLMServer, type ServerOptions } from "../../src/server.ts";
import { GpuPool } from "../../src/workers/gpu-pool.ts";
import { buildCli } from "../support/cli.ts";
import { FakeRunner, VOCABULARY } from "../support/fake-runner.ts";
import { testAdapterName } from "../support/gpu.ts";
import { TestHost } from "../support/gpu-workers.ts";
import { GREEDY } from "../support/greedy.ts";
import { type Client, client, jsonEvents } from "../support/http.ts";
import { writeModelFolder } from "../support/model-folder.ts";
import { fixtureFolder } from "../support/reference-model.ts";
import { finish, ScriptedLLM, say } from "../support/scripted-llm.ts";
import { TINY } from "../support/tiny-model.ts";
import { sproutReference } from "../tokenizer/tokenizers.ts";

const SPROUT = "demo/public/models/sprout";
const chat = "/v1/chat/completions";
const messages = [{ role: "user", content: "What is the capital of France?" }];
const greedy = { temperature: 0, max_tokens: 40 };
const weather = sproutReference.cases.find(({ name }) => name === "tool call") as Required<
  (typeof sproutReference.cases)[number]
>;

interface Reply {
  readonly choices: {
    readonly text?: string;
    readonly finish_reason: string;
    readonly message: {
      readonly content: string | null;
      readonly tool_calls?: { readonly function: { readonly name: string; readonly arguments: string } }[];
    };
  }[];
  readonly usage: { readonly prompt_tokens_details: { readonly cached_tokens: number } };
}

/** Reads a line as `sluice serve` does, up to where it would load the model. */
function parsed(line: string, ...more: string[]) {
  const command = serveOptions(new ServeCommand("serve"), 8000) as ServeCommand;
  command
    .argument("[model]")
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  new Command().addCommand(command);
  let model = "";
  command.action((given: string) => {
    model = given;
  });
  command.parse([...line.split(/\s+/), ...more], { from: "user" });
  return { model, options: command.opts<ServeOptions>(), notes: command.notes.join(" ") };
}

/** A few thousand weights, and a context as long as the large model's. */
const longModel = mkdtempSync(join(tmpdir(), "sluice-articles-"));
beforeAll(async () => {
  await buildCli();
  writeModelFolder(longModel, { ...TINY, num_hidden_layers: 4, max_position_embeddings: 262_144 });
});
afterAll(() => rmSync(longModel, { recursive: true }));

/** What a command line loads a model with, on the adapter under test. */
const onTestDevice = (options: ServeOptions) => ({
  ...serveLoadOptions(options),
  device: { adapter: testAdapterName, dtype: "f32" } as const,
});

afterEach(() => vi.unstubAllEnvs());

describe("command lines", () => {
  it("S1 vllm serve with a port, four GPUs and a context: a small model in as many stages", async () => {
    const { model, options } = parsed(
      "Qwen/Qwen3-Next-80B-A3B-Instruct --port 8000 --tensor-parallel-size 4 --max-model-len 262144",
    );
    expect(model).toBe("Qwen/Qwen3-Next-80B-A3B-Instruct");
    expect(options.port).toBe(8000);
    const stages = new TestHost(0, wantedGpus(options)!.length);
    const pool = await GpuPool.load([stages], longModel, onTestDevice(options));
    const api = await serve(pool);
    expect(stages.children).toHaveLength(4);
    expect(await (await api.get("/v1/models")).json()).toMatchObject({ data: [{ max_model_len: 262_144 }] });
    const reply = await api.json("/v1/completions", { prompt: [1, 2, 3], ignore_eos: true });
    expect(reply).toMatchObject({ usage: { prompt_tokens: 3, completion_tokens: 16 } });
    await pool.dispose();
  });

  it("S2 speculation by JSON, under all names of this family's method", () => {
    for (const method of ["mtp", "qwen3_next_mtp", "qwen3_5_mtp", "nextn"]) {
      const { options } = parsed("m --speculative-config", JSON.stringify({ method, num_speculative_tokens: 2 }));
      expect(() => serveLoadOptions(options)).not.toThrow();
    }
    const { options } = parsed("m --speculative-config", '{"method": "medusa"}');
    expect(() => serveLoadOptions(options)).toThrow(/medusa.*mtp, qwen3_next_mtp/);
  });

  it("S3 YaRN in every spelling, old and new", () => {
    const yarn = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 262_144 };
    const lines = [
      ["--rope-scaling", JSON.stringify(yarn)],
      ["--hf-overrides", JSON.stringify({ rope_parameters: yarn })],
      ["--json-model-override-args", JSON.stringify({ rope_parameters: yarn })],
      ["--rope-scaling", "yarn", "--rope-scale", "4", "--yarn-orig-ctx", "262144"],
    ];
    for (const line of lines) {
      const { options } = parsed("m --max-model-len 1010000", ...line);
      expect(serveLoadOptions(options)).toMatchObject({
        maxContext: 1_010_000,
        configOverrides: { rope_parameters: yarn },
      });
    }
  });

  it("S4 a context beyond the model's, when the environment says that it is meant", async () => {
    const { options } = parsed("m --reference --max-model-len 8192");
    const model = fixtureFolder("qwen3-next-tiny");
    const refused = LLM.load(model, serveLoadOptions(options));
    await expect(refused).rejects.toThrow(/8192 is not a whole number from 2 to \d+, the model's own limit/);
    for (const name of ["VLLM_ALLOW_LONG_MAX_MODEL_LEN", "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN"]) {
      vi.stubEnv(name, "1");
      const llm = await LLM.load(model, { ...serveLoadOptions(options), maxSequences: 1 });
      expect(llm.info.maxContext).toBe(8192);
      await llm.dispose();
      vi.unstubAllEnvs();
    }
  });

  it("S5 sglang.launch_server, with the beginning of an option's name: a small model under its routes", async () => {
    const { model, options } = parsed(
      "--model-path Qwen/Qwen3-Next-80B-A3B-Instruct --port 30000 --tp-size 4 --context-length 262144 " +
        "--speculative-algo NEXTN --speculative-num-steps 3 --speculative-eagle-topk 1 --speculative-num-draft-tokens 4",
    );
    expect(model).toBe("Qwen/Qwen3-Next-80B-A3B-Instruct");
    expect(options).toMatchObject({
      port: 30_000,
      maxModelLen: 262_144,
      speculativeConfig: { method: "nextn", num_speculative_tokens: 3 },
    });
    const llm = await LocalLLM.load(nodePlatform, longModel, onTestDevice(options));
    const api = await serve(llm);
    expect(await (await api.get("/get_server_info")).json()).toMatchObject({ context_length: 262_144 });
    const sampling_params = { max_new_tokens: 5, ignore_eos: true };
    const reply = await api.json("/generate", { input_ids: [1, 2, 3], sampling_params });
    expect(reply).toMatchObject({ meta_info: { prompt_tokens: 3, completion_tokens: 5 } });
    await llm.dispose();
  });

  it("S17 a context of a million, and how many such requests fit", async () => {
    const options = { device: { adapter: testAdapterName, dtype: "f32" }, maxContext: 1024, maxSequences: 4 } as const;
    const plan = await planServing(fixtureFolder("qwen3-next-yarn"), { ...options, cacheTokens: 2048 });
    expect(planText(plan)).toMatch(/1024\s+2$/m);
  });

  it("S18 experts kept elsewhere, in the spellings of llama.cpp and vLLM", () => {
    const { options, notes } = parsed("m --memory 24GB --max-num-seqs 5 --n-cpu-moe 20 --cpu-offload-gb 20");
    expect(serveLoadOptions(options)).toMatchObject({ memory: "24GB", maxSequences: 5 });
    expect(notes).toMatch(/--n-cpu-moe has no effect.*--memory/);
  });
});

const servers: LLMServer[] = [];
async function serve(llm: LocalLLM | ScriptedLLM | GpuPool, options: ServerOptions = {}): Promise<Client> {
  const server = createServer(llm, { rehearse: false, ...options });
  servers.push(server);
  await server.ready();
  return client(await server.listen({ port: 0 }));
}
afterAll(() => Promise.all(servers.map((server) => server.close({ timeoutMs: 0 }))));

describe("requests", () => {
  it("S6 an empty key, and any other, where none is wanted", async () => {
    const { url } = await serve(new ScriptedLLM());
    // Older clients send an empty key as it is; the new one has to be made to.
    for (const key of ["", "EMPTY", "sk-anything"]) {
      const defaultHeaders = { Authorization: `Bearer ${key}` };
      const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "x", defaultHeaders, maxRetries: 0 });
      expect((await openai.models.list()).data).toHaveLength(1);
    }
  });

  it("S7 the model under its last name, in lower case, and under one that it does not have", async () => {
    const api = await serve(new ScriptedLLM());
    for (const model of ["models/Scripted-1B", "Scripted-1B", "scripted-1b"]) {
      const reply = await api.post(chat, { model, messages });
      expect([reply.status, reply.headers.get("x-sluice-warning")]).toEqual([200, null]);
    }
    const other = await api.post(chat, { model: "gpt-4o", messages });
    expect([other.status, other.headers.get("x-sluice-warning")]).toEqual([200, expect.stringContaining("gpt-4o")]);
  });

  it("S10 200,000 tokens, not streamed, with the client's own defaults", async () => {
    const tokens = 200_000;
    const runner = new FakeRunner({
      ...{ maxContext: tokens + 64, maxBatchTokens: 4096, blocks: tokens / 4 + 64 },
      delay: () => new Promise((resolve) => setTimeout(resolve, 5)),
    });
    const engine = new Engine(runner);
    const llm = new ScriptedLLM(async function* (): AsyncGenerator<GenerationEvent, void, void> {
      const text = llm.messages[0].content as string;
      const prompt = Array.from({ length: tokens }, (_, i) => text.charCodeAt(i) % VOCABULARY);
      const ids: number[] = [];
      for await (const event of engine.generate({ prompt, sampling: { ...GREEDY, maxTokens: 4 } })) {
        if (event.kind === "prefill") yield event;
        else ids.push(event.sampled.token);
      }
      yield { kind: "text", text: ids.join(" "), tokenIds: ids };
      yield finish(ids.join(" "));
    });
    // As after a minute, sooner.
    const { url, post } = await serve(llm, { earlyBodyMs: 50, heartbeatMs: 20 });
    const content = "文".repeat(tokens);
    const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "EMPTY" });
    const request = { model: "x", temperature: 0.1, messages: [{ role: "user" as const, content }] };
    const whole = await openai.chat.completions.create(request);
    expect(whole.choices[0].message.content).toMatch(/^\d+( \d+){3}$/);
    expect(runner.prefilled).toBe(tokens);
    // Another text, of which the engine has kept nothing: it takes so long again.
    const reply = await post(chat, { ...request, messages: [{ role: "user", content: "字".repeat(tokens) }] });
    expect(await reply.text()).toMatch(/^ +\{"id"/);
  });

  it("S11 sampling as the model's card has it", async () => {
    const llm = new ScriptedLLM(() => say("Hello"));
    const api = await serve(llm);
    const asked = { temperature: 0.7, top_p: 0.8, top_k: 20, min_p: 0.01, presence_penalty: 0.1, max_tokens: 16_384 };
    await api.json(chat, { messages, ...asked });
    const passed = { temperature: 0.7, topP: 0.8, topK: 20, minP: 0.01, presencePenalty: 0.1, maxTokens: 16_384 };
    expect(llm.params).toMatchObject(passed);
  });

  it("S14 headers that ask for speculation, and SGLang's front end in its working form", async () => {
    const { url } = await serve(new ScriptedLLM());
    const defaultHeaders = { "X-Speculative-Algorithm": "NEXTN", "X-Speculative-Num-Steps": "3" };
    const openai = new OpenAI({ baseURL: `${url}/v1`, apiKey: "EMPTY", defaultHeaders });
    const request = { model: "Qwen/Qwen3-Next-80B-A3B-Instruct", messages: [{ role: "user" as const, content: "Hi" }] };
    expect((await openai.chat.completions.create(request)).choices[0].message.content).toBe("Hello");
  });
});

describe("Sprout", () => {
  let llm: LocalLLM;
  let api: Client;
  const load = (more: object = {}) =>
    LocalLLM.load(nodePlatform, SPROUT, {
      ...{ device: { adapter: testAdapterName, dtype: "f32" }, maxContext: 1024, maxSequences: 5, cacheTokens: 4096 },
      ...more,
    });
  beforeAll(async () => {
    llm = await load();
    api = await serve(llm);
  }, 300_000);
  afterAll(() => llm.dispose());

  const ask = async (body: object) => (await api.json(chat, { messages, ...greedy, ...body })) as Reply;

  it("S8 tools, with no flag that asks for them", async () => {
    const { messages, tools } = weather;
    const [choice] = (await ask({ messages, tools, tool_choice: "auto" })).choices;
    expect(choice.finish_reason).toBe("tool_calls");
    expect(choice.message.tool_calls).toMatchObject([{ function: { name: "get_weather" } }]);
  });

  it("S9 a tool's answer with no id, and no call before it", async () => {
    const result = { role: "tool", name: "get_weather", content: '{"temperature": 14, "condition": "rainy"}' };
    const [choice] = (await ask({ messages: [...weather.messages, result], tools: weather.tools })).choices;
    expect(choice.message.content).toContain("14");
  });

  it("S12 two prompts offline, and in one request; flags of memory are taken", async () => {
    const prompts = ["The sun", "The moon"];
    const offline = await Promise.all(
      prompts.map((prompt) => llm.generate(prompt, { temperature: 0, maxTokens: 5 }).text()),
    );
    const { choices } = (await api.json("/v1/completions", { prompt: prompts, ...greedy, max_tokens: 5 })) as Reply;
    expect(choices.map(({ text }) => text)).toEqual(offline);
    const { options, notes } = parsed("m --swap-space 4 --enforce-eager --gpu-memory-utilization 0.9");
    expect(options).toMatchObject({ gpuMemoryUtilization: 0.9 });
    expect(notes).toMatch(/--swap-space.*--enforce-eager/);
  });

  it("S13 markup of calls is left to agents that sent no tools", async () => {
    const { prompt } = (await api.json("/apply-template", weather)) as { prompt: string };
    const system = /<\|im_start\|>system\n(.*?)<\|im_end\|>/s.exec(prompt)![1];
    const asked = { messages: [{ role: "system", content: system }, ...weather.messages], ...greedy };
    const events = jsonEvents(await api.stream(chat, asked)) as { choices: { delta: Record<string, unknown> }[] }[];
    const text = events.map(({ choices }) => choices[0].delta.content ?? "").join("");
    expect(text).toContain('<tool_call>\n{"name": "get_weather"');
    expect(JSON.stringify(events)).not.toContain("tool_calls");
  });

  it("S15 what SGLang's RuntimeEndpoint asks", async () => {
    expect(await (await api.get("/get_model_info")).json()).toMatchObject({ is_generation: true });
    expect((await api.get("/get_server_info")).status).toBe(200);
    expect((await api.get("/health_generate")).status).toBe(200);
    const sampling_params = { temperature: 0, max_new_tokens: 5 };
    const data = jsonEvents(await api.stream("/generate", { text: "The sun", sampling_params })) as { text: string }[];
    expect(data.every(({ text }, i) => i === 0 || text.startsWith(data[i - 1].text))).toBe(true);
    const warm = { text: "The sun was", sampling_params: { max_new_tokens: 0 } };
    expect(await api.json("/generate", warm)).toMatchObject({ text: "", meta_info: { completion_tokens: 0 } });
    expect((await api.post("/flush_cache", {})).status).toBe(200);
    // `select` over a chat back end: token ids, a bias for hundreds of tokens, one token.
    const logit_bias = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [String(i + 300), i === 7 ? 100 : -1]));
    const prompt = await llm.tokenize("The sun");
    const picked = { prompt, logit_bias, max_tokens: 1, temperature: 0, return_token_ids: true };
    expect(await api.json("/v1/completions", picked)).toMatchObject({ choices: [{ token_ids: [307] }] });
  });

  it("S16 the same needle with a cold and a warm cache", async () => {
    const facts = ["Anna", "Ben", "Carla", "David", "Emma"].map((name, i) => `${name} has ${11 + 13 * i} coins.`);
    const text = Array.from({ length: 12 }, (_, i) => `${facts[i % 5]} The day was long.`).join(" ");
    const question = [{ role: "user", content: `${text}\n\nHow many coins does Carla have?` }];
    await llm.clearCache();
    const cold = await ask({ messages: question });
    const warm = await ask({ messages: question });
    expect(cold.usage.prompt_tokens_details.cached_tokens).toBe(0);
    expect(warm.usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(100);
    expect(warm.choices[0].message).toEqual(cold.choices[0].message);
    expect(cold.choices[0].message.content).toMatch(/Carla has \d+ coins/);
  });

  it("S18 five replies at once by a model of which a part is on the device", async () => {
    const whole = await ask({});
    const part = await load({ memory: "50%" });
    try {
      const own = await serve(part);
      expect((await part.stats()).paging).toMatchObject({ experts: 24, slots: 12 });
      const replies = await Promise.all(
        Array.from({ length: 5 }, () => own.json(chat, { messages, ...greedy }) as Promise<Reply>),
      );
      for (const { choices } of replies) expect(choices[0].message).toEqual(whole.choices[0].message);
    } finally {
      await part.dispose();
    }
  });

  it("S19 a checkpoint with a draft layer is served, where other libraries ignore the layer", async () => {
    const names = readdirSync(SPROUT).filter((name) => name.endsWith(".safetensors"));
    const heads = names.map((name) => readFileSync(`${SPROUT}/${name}`).subarray(0, 200_000).toString("latin1"));
    expect(heads.join()).toContain('"mtp.');
    expect((await ask({})).choices[0].message.content).toBe("Paris is the capital of France.");
  });

  it("S20 arguments are one JSON object, also of a call without any", async () => {
    const nothing = { type: "function", function: { name: "get_time", description: "Get the time." } };
    const tool_choice = { type: "function", function: { name: "get_time" } };
    for (const body of [{ tools: [nothing], tool_choice }, weather]) {
      const [{ message }] = (await ask(body)).choices;
      expect(Object.prototype.toString.call(JSON.parse(message.tool_calls![0].function.arguments))).toBe(
        "[object Object]",
      );
    }
    const [{ message }] = (await ask({ tools: [nothing], tool_choice })).choices;
    expect(message.tool_calls![0].function.arguments.replace(/\s/g, "")).toBe("{}");
  });
});
