import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type { CompanionMode, GenerateParams, LoadOptions } from "../../src/api/types.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { createServer, type LLMServer } from "../../src/server.ts";
import { GpuPool } from "../../src/workers/gpu-pool.ts";
import { buildCli } from "../support/cli.ts";
import { testAdapterName } from "../support/gpu.ts";
import { TestHost, testHosts } from "../support/gpu-workers.ts";

const SPROUT = "demo/public/models/sprout";
const OPTIONS: LoadOptions = { maxContext: 256, device: { adapter: testAdapterName, dtype: "f32" }, store: "none" };
const PARAMS: readonly GenerateParams[] = [
  { temperature: 0, maxTokens: 8, logprobs: 1 },
  { temperature: 1, seed: 7, maxTokens: 8, repetitionPenalty: 1.2 },
  { temperature: 0, maxTokens: 8, format: { kind: "json" } },
];
const LONG: GenerateParams = { temperature: 0, maxTokens: 60, ignoreEos: true };

let own: LocalLLM;
beforeAll(async () => {
  await buildCli();
  own = await LocalLLM.load(nodePlatform, SPROUT, OPTIONS);
}, 300_000);
afterAll(() => own?.dispose());

const ask = (llm: LocalLLM, params: GenerateParams) =>
  llm.chat([{ role: "user", content: "Write a story about a fox." }], params).finish();

const lean = (url: string, mode: CompanionMode) =>
  LocalLLM.load(nodePlatform, SPROUT, { ...OPTIONS, companion: { url, mode, fallback: false, patienceMs: 120_000 } });

async function serving(pool: GpuPool): Promise<{ url: string; server: LLMServer }> {
  const server = createServer(pool, { onRefusedLink: () => {} });
  const url = await server.listen({ port: 0 });
  await server.ready();
  return { url, server };
}

describe("whole models in two workers", () => {
  let hosts: TestHost[];
  let pool: GpuPool;
  let server: LLMServer;
  let url: string;

  beforeAll(async () => {
    hosts = testHosts(2);
    const times = { waitMs: 120_000, restartMs: [10, 100] as const };
    pool = await GpuPool.load(hosts, SPROUT, { ...OPTIONS, maxSequences: 4, cacheTokens: 1024, times });
    ({ server, url } = await serving(pool));
  }, 300_000);
  afterAll(async () => {
    await server?.close({ timeoutMs: 100 });
    await pool?.dispose();
  });

  it.each(["requests", "experts", "layers"] as const)(
    "are leaned on for %s, each link by one of them",
    async (mode) => {
      const [one, other] = [await lean(url, mode), await lean(url, mode)];
      for (const params of PARAMS) {
        const expected = (await ask(own, params)).tokenIds;
        const replies = await Promise.all([ask(one, params), ask(other, params)]);
        expect(replies.map(({ tokenIds }) => tokenIds)).toEqual([expected, expected]);
      }
      const ids = await own.tokenize("The sun is a star.");
      if (mode === "requests") {
        expect(await one.score(ids)).toEqual(await own.score(ids));
        const { workers } = await pool.stats();
        expect(workers!.map(({ stats }) => stats.tokens.reply > 0)).toEqual([true, true]);
      }
      await one.dispose();
      await other.dispose();
    },
    300_000,
  );

  it.each(["requests", "experts", "layers"] as const)(
    "end, and a reply by %s goes on with another",
    async (mode) => {
      const llm = await lean(url, mode);
      const expected = (await ask(own, LONG)).tokenIds;
      let count = 0;
      const generation = llm.chat([{ role: "user", content: "Write a story about a fox." }], LONG);
      const ids: number[] = [];
      for await (const event of generation) {
        if (event.kind === "finish") ids.push(...event.tokenIds);
        // Whoever of the two it was.
        if (event.kind === "text" && ++count === 5) hosts[0].signal("SIGKILL");
        if (event.kind === "text" && count === 15) hosts[1].signal("SIGKILL");
      }
      expect(ids).toEqual(expected);
      await llm.dispose();
    },
    300_000,
  );
});

it("a model in stages writes whole replies for others, and says why it does no more", async () => {
  const pool = await GpuPool.load([new TestHost(0, 2)], SPROUT, { ...OPTIONS, maxSequences: 2, cacheTokens: 512 });
  const { server, url } = await serving(pool);
  const llm = await lean(url, "requests");
  expect((await ask(llm, PARAMS[0])).tokenIds).toEqual((await ask(own, PARAMS[0])).tokenIds);
  await llm.dispose();
  await expect(lean(url, "experts")).rejects.toThrow("its layers are in 2 processes, a GPU each");
  await expect(lean(url, "layers")).rejects.toThrow("its layers are in 2 processes, a GPU each");
  await server.close({ timeoutMs: 100 });
  await pool.dispose();
}, 300_000);
