import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, describe, expect, it } from "vitest";
import { generation } from "../../src/api/generation.ts";
import { LocalLLM } from "../../src/api/llm.ts";
import { reply } from "../../src/api/reply.ts";
import { resolveSampling } from "../../src/api/sampling.ts";
import type { GenerateParams } from "../../src/api/types.ts";
import { Engine } from "../../src/engine/engine.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { createServer, type LLMServer } from "../../src/server.ts";
import { FakeModel, FakeRunner, type FakeRunnerOptions, VOCABULARY } from "../support/fake-runner.ts";
import { testAdapterName } from "../support/gpu.ts";
import { GREEDY } from "../support/greedy.ts";
import { type Client, client, jsonEvents } from "../support/http.ts";
import { fixtureFolder } from "../support/reference-model.ts";
import { ScriptedLLM } from "../support/scripted-llm.ts";

/** SLUICE_SOAK=1 takes all combinations, and more turns. */
const isLong = Boolean(process.env.SLUICE_SOAK);

/** The engine as it is, on a runner whose tokens are a hash of what is really in its state. */
class HashLLM extends ScriptedLLM {
  readonly runner: FakeRunner;
  readonly engine: Engine;

  constructor(options: FakeRunnerOptions) {
    super();
    this.runner = new FakeRunner(options);
    this.engine = new Engine(this.runner);
  }

  override get info() {
    return { ...super.info, ...this.runner.limits, vocabulary: VOCABULARY };
  }

  override generate(prompt: string | readonly number[], params: GenerateParams = {}) {
    if (typeof prompt === "string") throw new Error("this model takes ids");
    const sampling = resolveSampling(params, { params: {}, stopIds: [] }, VOCABULARY);
    const { maxContext } = this.runner.limits;
    return generation(() => reply(this.engine, undefined, { prompt, params, sampling, maxContext, startMs: 0 }));
  }

  override async stats() {
    return this.engine.stats();
  }
}

interface Completion {
  readonly choices: { readonly token_ids: number[] }[];
  readonly usage?: { readonly prompt_tokens_details: { readonly cached_tokens: number } };
}

const servers: LLMServer[] = [];
async function serve(llm: ScriptedLLM | LocalLLM): Promise<Client> {
  const server = createServer(llm, { rehearse: false });
  servers.push(server);
  await server.ready();
  return client(await server.listen({ port: 0 }));
}
afterEach(() => Promise.all(servers.splice(0).map((server) => server.close({ timeoutMs: 0 }))));

const greedy = { temperature: 0, return_token_ids: true };

async function ask(api: Client, prompt: readonly number[], maxTokens: number, isStreamed: boolean) {
  const body = { ...greedy, prompt, max_tokens: maxTokens, ignore_eos: true };
  if (!isStreamed) {
    const { choices, usage } = (await api.json("/v1/completions", body)) as Completion;
    return { ids: choices[0].token_ids, cached: usage!.prompt_tokens_details.cached_tokens };
  }
  const stream_options = { include_usage: true };
  const events = jsonEvents(await api.stream("/v1/completions", { ...body, stream_options })) as Completion[];
  const ids = events.flatMap(({ choices }) => choices[0]?.token_ids ?? []);
  return { ids, cached: events.at(-1)!.usage!.prompt_tokens_details.cached_tokens };
}

const tokens = (count: number, step: number, from = 0): number[] =>
  Array.from({ length: count }, (_, i) => 3 + ((i * step + from) % 200));

function expected(prompt: readonly number[], length: number): number[] {
  const model = new FakeModel(prompt);
  return Array.from({ length }, () => model.next(GREEDY));
}

it("never mixes 64 streams, each with a canary of its own", async () => {
  const delay = () => new Promise<void>((resolve) => setTimeout(resolve, 1));
  // Fewer blocks than 16 replies take: some are preempted.
  const llm = new HashLLM({ maxContext: 128, maxBatchTokens: 24, maxSequences: 16, blocks: 150, delay });
  const api = await serve(llm);
  const rounds = isLong ? 20 : 3;
  for (let round = 0; round < rounds; round++) {
    const prompts = Array.from({ length: 64 }, (_, i) => [
      ...Array.from({ length: 10 + (i % 40) }, (_, k) => k % VOCABULARY),
      ...[i, round, i + round].map((id) => id % VOCABULARY),
    ]);
    const replies = await Promise.all(prompts.map((prompt) => ask(api, prompt, 20, true)));
    for (const [i, { ids }] of replies.entries()) expect(ids).toEqual(expected(prompts[i], 20));
  }
  expect(llm.runner.largestBatch).toBeGreaterThan(8);
  expect(llm.engine.stats()).toMatchObject({ running: 0, waiting: 0, blocks: { used: 0 } });
});

it("takes no more memory after 1,000 turns than after the first hundreds", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const llm = new HashLLM({ maxContext: 64, maxBatchTokens: 16, maxSequences: 4, blocks: 100 });
  const api = await serve(llm);
  const converse = async (count: number) => {
    let prompt: number[] = [];
    for (let turn = 0; turn < count; turn++) {
      // A conversation that begins anew when its context is full.
      prompt = prompt.length > 40 ? [turn % VOCABULARY] : [...prompt, turn % VOCABULARY];
      const { ids } = await ask(api, prompt, 5, turn % 2 === 0);
      expect(ids).toEqual(expected(prompt, 5));
      prompt = [...prompt, ...ids];
    }
  };
  const turns = async (count: number) => {
    await Promise.all(Array.from({ length: 4 }, () => converse(count / 4)));
    for (let i = 0; i < 3; i++) collect();
    return process.memoryUsage().heapUsed;
  };
  const early = await turns(400);
  const late = await turns(600);
  const grown = (late - early) / 2 ** 20;
  if (isLong) console.log(`From turn 400 to turn 1,000 the heap grew by ${grown.toFixed(2)} MiB.`);
  expect(grown).toBeLessThan(2);
  expect(llm.engine.stats()).toMatchObject({ running: 0, waiting: 0, blocks: { used: 0 } });
});

const MODELS = [
  { name: "qwen3-next-tiny", folder: fixtureFolder("qwen3-next-tiny"), prompt: tokens(150, 29) },
  // Longer than the largest step.
  ...(isLong ? [{ name: "sprout", folder: "demo/public/models/sprout", prompt: tokens(700, 29) }] : []),
];

const CACHES = ["cold", "warm", "branch"] as const;
const all = CACHES.flatMap((cache) =>
  [1, 32].flatMap((company) => [true, false].map((isStreamed) => ({ cache, company, isStreamed }))),
);
// Every cache, company and way of sending; the rest are the same in other pairs.
const some = all.filter((_, i) => i % 3 === 0);

describe.each(MODELS)("greedy replies of $name", ({ folder, prompt }) => {
  const length = 12;
  const others = Array.from({ length: 31 }, (_, s) => tokens(12 + s, 31, 17 * s));
  /** By what is asked: the reply of the first of all. */
  const first = new Map<readonly number[], string>();
  const same = (asked: readonly number[], ids: readonly number[]) => {
    if (!first.has(asked)) first.set(asked, `${ids}`);
    expect(`${ids}`).toBe(first.get(asked));
  };

  it.each([64, 512])(
    "are the same in steps of %i, cold, warm or from a branch, alone or not, streamed or not",
    async (maxBatchTokens) => {
      const llm = await LocalLLM.load(nodePlatform, folder, {
        device: { adapter: testAdapterName, dtype: "f32" },
        ...{ maxContext: 1024, maxSequences: 32, cacheTokens: 64 * 256, maxBatchTokens },
      });
      try {
        const api = await serve(llm);
        for (const { cache, company, isStreamed } of isLong ? all : some) {
          await llm.clearCache();
          if (cache === "warm") await ask(api, prompt, length, false);
          if (cache === "branch") await ask(api, [...prompt.slice(0, 130), 5, 6, 7, 8], length, false);
          const beside = others.slice(0, company - 1);
          const replies = beside.map((other, s) => ask(api, other, length, s % 2 === 0));
          const { ids, cached } = await ask(api, prompt, length, isStreamed);
          same(prompt, ids);
          expect(cached > 0).toBe(cache !== "cold");
          for (const [s, reply] of (await Promise.all(replies)).entries()) same(beside[s], reply.ids);
        }
      } finally {
        await llm.dispose();
      }
    },
    600_000,
  );
});
