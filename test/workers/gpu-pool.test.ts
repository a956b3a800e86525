import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type { LoadOptions } from "../../src/api/types.ts";
import { CheckpointError, ContextLengthError, LLMError, WorkerLostError } from "../../src/errors.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { GpuPool, type PoolOptions } from "../../src/workers/gpu-pool.ts";
import { buildCli } from "../support/cli.ts";
import { testAdapterName } from "../support/gpu.ts";
import { type TestHost, testHosts } from "../support/gpu-workers.ts";
import { writeModelFolder } from "../support/model-folder.ts";
import { random } from "../support/random.ts";
import { TINY } from "../support/tiny-model.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-workers-"));
/** Room for replies that have not ended when they are met, however quick the machine or busy this process is. */
const OPTIONS: LoadOptions = { device: { reference: true }, maxContext: 8192, maxSequences: 2 };
const ENDLESS = 8000;
const GREEDY = { temperature: 0, maxTokens: 12, ignoreEos: true };
const PROMPT = [5, 17, 30, 4, 95];

/** A prompt with two whole blocks that no other has. */
const longPrompt = (seed: number): number[] => Array.from({ length: 140 }, (_, i) => (seed * 31 + i * 7) % 96);

beforeAll(async () => {
  await buildCli();
  writeModelFolder(folder, { ...TINY, max_position_embeddings: 8192 });
});
afterAll(() => rmSync(folder, { recursive: true }));

async function open(count: number, options: PoolOptions = {}): Promise<{ hosts: TestHost[]; pool: GpuPool }> {
  const hosts = testHosts(count);
  return { hosts, pool: await GpuPool.load(hosts, folder, { ...OPTIONS, ...options }) };
}

const failure = (work: Promise<unknown>): Promise<Error> =>
  work.then(
    () => expect.fail("nothing failed"),
    (error) => error,
  );

describe("two workers", () => {
  let local: LocalLLM;
  let pool: GpuPool;

  beforeAll(async () => {
    local = await LocalLLM.load(nodePlatform, folder, OPTIONS);
    ({ pool } = await open(2));
  });
  afterAll(() => Promise.all([local.dispose(), pool.dispose()]));

  /** Prompt tokens that each worker has been asked for. */
  const queried = async (): Promise<number[]> =>
    (await pool.stats()).workers!.map(({ stats }) => stats.cachedTokens.queried);

  test("are one model with the sum of what they have", () => {
    expect(pool.info).toMatchObject({ label: local.info.label, maxSequences: 4, maxContext: 8192 });
    expect(pool.info.cacheTokens).toBe(2 * local.info.cacheTokens);
    expect(pool.info.memory.weights).toBe(2 * local.info.memory.weights);
  });

  test("give the tokens of one, greedily and by seeds", async () => {
    const params = [GREEDY, ...[1, 2, 3].map((seed) => ({ ...GREEDY, temperature: 1, seed }))];
    const ask = (llm: LocalLLM | GpuPool) =>
      Promise.all(params.map(async (one) => (await llm.generate(PROMPT, one).finish()).tokenIds));
    const replies = await ask(pool);
    expect(replies).toEqual(await ask(local));
    expect(new Set(replies.map(String)).size).toBeGreaterThan(1);
  });

  test("share the work, and each keeps to what it has read", async () => {
    const before = await queried();
    await Promise.all([1, 2].map((seed) => pool.generate(longPrompt(seed), GREEDY).finish()));
    const after = await queried();
    expect(after.map((count, i) => count - before[i])).toEqual([140, 140]);
    for (const seed of [1, 2, 2, 1, 1]) {
      const { usage } = await pool.generate([...longPrompt(seed), 7], GREEDY).finish();
      expect(usage.cachedTokens).toBeGreaterThanOrEqual(128);
    }
  });

  test("leave a worker that is busy for one that is not", async () => {
    const before = await queried();
    await Promise.all([1, 2, 3, 4].map(() => pool.generate(longPrompt(1), GREEDY).finish()));
    const after = await queried();
    expect(after.map((count, i) => count - before[i])).toEqual([280, 280]);
  });

  test("pass on errors as the class they left", async () => {
    const error = await failure(pool.generate(Array.from({ length: 9000 }, () => 1)).finish());
    expect(error).toBeInstanceOf(ContextLengthError);
    const templateVariables = { today: () => "Monday" };
    expect(await failure(pool.chat([], { templateVariables }).finish())).toMatchObject({ name: "DataCloneError" });
  });

  test("stop a reply for a signal, and when its reader leaves", async () => {
    const controller = new AbortController();
    const params = { ...GREEDY, maxTokens: ENDLESS };
    let last: unknown;
    for await (const event of pool.generate(PROMPT, { ...params, signal: controller.signal })) {
      if (event.kind === "text") controller.abort();
      last = event;
    }
    expect(last).toMatchObject({ kind: "finish", reason: "abort" });
    for await (const event of pool.generate(PROMPT, params)) if (event.kind === "text") break;
    await expect.poll(async () => (await pool.stats()).running).toBe(0);
  });
});

describe("a worker that ends", () => {
  test("is started again, and its requests are asked of another where nothing was given away", async () => {
    const events: string[] = [];
    const onChange: PoolOptions["onChange"] = (label, { state }) => events.push(`${label} ${state}`);
    const { hosts, pool } = await open(2, { times: { waitMs: 120_000 }, onChange });
    const expected = (await pool.generate(PROMPT, GREEDY).finish()).tokenIds;

    // One of two prompts is with a worker from which nothing can come.
    hosts[0].signal("SIGSTOP");
    const unbegun = [1, 2].map((seed) => pool.generate(longPrompt(seed), { ...GREEDY, maxTokens: 3 }).finish());
    await new Promise(setImmediate);
    hosts[0].signal("SIGKILL");
    for (const finish of await Promise.all(unbegun)) expect(finish.tokenIds).toHaveLength(3);
    expect((await pool.stats()).workers![1].stats.cachedTokens.queried).toBeGreaterThanOrEqual(280);

    await expect.poll(() => events).toContain("worker 0 live");
    expect(events).toEqual(["worker 0 dead", "worker 0 live"]);
    expect((await pool.stats()).workers!.map(({ restarts }) => restarts)).toEqual([1, 0]);

    // Both have given something away.
    const begun = [1, 2].map(async () => {
      for await (const event of pool.generate(PROMPT, { ...GREEDY, maxTokens: ENDLESS })) {
        if (event.kind === "text") for (const host of hosts) host.signal("SIGKILL");
      }
    });
    for (const error of await Promise.all(begun.map(failure))) {
      expect(error).toBeInstanceOf(WorkerLostError);
      expect(error).toMatchObject({ hasBegun: true, worker: expect.stringMatching(/worker [01]/) });
    }
    // Nobody is there, and this waits.
    expect((await pool.generate(PROMPT, GREEDY).finish()).tokenIds).toEqual(expected);
    await pool.dispose();
  });

  test("that does not answer is ended", async () => {
    const reasons: string[] = [];
    const onChange: PoolOptions["onChange"] = (_, { state, reason }) => reasons.push(`${state}: ${reason}`);
    const { hosts, pool } = await open(1, { times: { silenceMs: 3000, waitMs: 120_000 }, onChange });
    const { pid } = hosts[0];
    hosts[0].signal("SIGSTOP");
    const reply = await pool.generate(PROMPT, GREEDY).finish();
    expect(reply.tokenIds).toHaveLength(12);
    expect(reasons[0]).toBe("dead: it gave no sign of life for 3 s");
    expect(hosts[0].starts).toBeGreaterThanOrEqual(2);
    expect(() => process.kill(pid, 0)).toThrow();
    await pool.dispose();
  });

  test("fails what waits too long for another", async () => {
    const { hosts, pool } = await open(1, { times: { waitMs: 50, restartMs: [60_000, 60_000] } });
    hosts[0].signal("SIGKILL");
    await expect.poll(async () => (await pool.stats()).workers![0].isLive).toBe(false);
    const error = await failure(pool.tokenize("x"));
    expect(error).toBeInstanceOf(WorkerLostError);
    expect(error).toMatchObject({ hasBegun: false });
    expect(await failure(pool.generate(PROMPT).finish())).toBeInstanceOf(WorkerLostError);
    await pool.dispose();
    expect(await failure(pool.generate(PROMPT).finish())).toBeInstanceOf(LLMError);
  });

  test("in the midst of loading fails the loading, and ends the others", async () => {
    const hosts = testHosts(2);
    let killed = false;
    const onProgress = () => {
      if (!killed) hosts[1].signal("SIGKILL");
      killed = true;
    };
    const error = await failure(GpuPool.load(hosts, folder, { ...OPTIONS, onProgress }));
    expect(error).toMatchObject({ name: "WorkerError", message: expect.stringContaining("SIGKILL") });
    await expect.poll(() => hosts.filter(({ pid }) => isAlive(pid))).toEqual([]);
    const missing = await failure(GpuPool.load(testHosts(2), "no/such/folder", OPTIONS));
    expect(missing).toBeInstanceOf(CheckpointError);
  });
});

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const KILLS = Number(process.env.SLUICE_KILLS ?? 30);

test(`${KILLS} kills at random moments: each request ends right, or with one error`, async () => {
  const next = random(7);
  const { hosts, pool } = await open(2, { times: { restartMs: [10, 100], waitMs: 120_000 } });
  const expected = new Map<number, readonly number[]>();
  for (const seed of [0, 1, 2]) {
    expected.set(seed, (await pool.generate(longPrompt(seed), { ...GREEDY, temperature: 1, seed }).finish()).tokenIds);
  }
  let isOver = false;
  const outcomes = { right: 0, lost: 0 };
  let slowestMs = 0;
  const ask = async (client: number) => {
    for (let i = client; !isOver; i++) {
      const seed = i % 3;
      const startMs = performance.now();
      try {
        const { tokenIds } = await pool.generate(longPrompt(seed), { ...GREEDY, temperature: 1, seed }).finish();
        expect(tokenIds).toEqual(expected.get(seed));
        outcomes.right++;
      } catch (error) {
        expect(error).toBeInstanceOf(WorkerLostError);
        outcomes.lost++;
      }
      slowestMs = Math.max(slowestMs, performance.now() - startMs);
    }
  };
  const clients = [0, 1, 2].map(ask);
  const heaps: number[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const isCalm = next() < 0.5;
    const live = async () => (await pool.stats()).workers!.filter(({ isLive }) => isLive).length;
    await expect.poll(live).toBeGreaterThanOrEqual(isCalm ? 2 : 1);
    await new Promise((resolve) => setTimeout(resolve, next() * 400));
    const victim = hosts[Math.floor(next() * 2)];
    if (isAlive(victim.pid)) victim.signal("SIGKILL");
    globalThis.gc?.();
    heaps.push(process.memoryUsage().heapUsed);
  }
  isOver = true;
  await Promise.all(clients);
  for (const [seed, tokens] of expected) {
    const params = { ...GREEDY, temperature: 1, seed };
    expect((await pool.generate(longPrompt(seed), params).finish()).tokenIds).toEqual(tokens);
  }
  await pool.dispose();
  console.log(
    `${KILLS} kills: ${outcomes.right} right, ${outcomes.lost} lost; slowest ${Math.round(slowestMs)} ms; heap ` +
      `${heaps.filter((_, i) => i % Math.ceil(KILLS / 8) === 0).map((bytes) => (bytes / 2 ** 20).toFixed(0))} MiB`,
  );
  expect(outcomes.right).toBeGreaterThan(0);
  await expect.poll(() => hosts.filter(({ pid }) => isAlive(pid))).toEqual([]);
}, 1_200_000);

test("Sprout in two processes on the adapter under test gives the tokens of one", async () => {
  const sprout = "demo/public/models/sprout";
  const options: LoadOptions = { device: { adapter: testAdapterName, dtype: "f32" }, maxContext: 512, maxSequences: 2 };
  const messages = [{ role: "user", content: "What is the capital of France?" }] as const;
  const params = [
    { temperature: 0, maxTokens: 24 },
    { temperature: 0.8, seed: 11, maxTokens: 24 },
  ];
  const ask = (llm: LocalLLM | GpuPool) =>
    Promise.all(params.map(async (one) => (await llm.chat(messages, one).finish()).tokenIds));
  const local = await LocalLLM.load(nodePlatform, sprout, options);
  const expected = await ask(local);
  await local.dispose();
  const pool = await GpuPool.load(testHosts(2), sprout, options);
  expect(await ask(pool)).toEqual(expected);
  await pool.dispose();
}, 600_000);
