import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type { LoadOptions } from "../../src/api/types.ts";
import { CheckpointError, WorkerLostError } from "../../src/errors.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { GpuPool } from "../../src/workers/gpu-pool.ts";
import { buildCli } from "../support/cli.ts";
import { testAdapterName } from "../support/gpu.ts";
import { TestHost } from "../support/gpu-workers.ts";
import { writeModelFolder } from "../support/model-folder.ts";
import { TINY } from "../support/tiny-model.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-stages-test-"));
/** Of these processes alone: others on this machine may make and leave the like. */
const temporary = join(folder, "tmp");
const SPROUT = "demo/public/models/sprout";
const device = { adapter: testAdapterName, dtype: "f32" } as const;
const OPTIONS: LoadOptions = { device, maxContext: 512, maxSequences: 2, cacheTokens: 1024, store: "none" };
const CHATS = ["What is the capital of France?", "Write a poem about a river.", "Count to ten."].map(
  (content) => [{ role: "user", content }] as const,
);

beforeAll(async () => {
  await buildCli();
  mkdirSync(temporary);
  vi.stubEnv("TMPDIR", temporary);
  writeModelFolder(folder, { ...TINY, num_hidden_layers: 4, max_position_embeddings: 4096 });
});
afterAll(() => rmSync(folder, { recursive: true }));

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

test("Sprout's layers in 2 and in 3 processes give the tokens of one", async () => {
  const ask = (llm: LocalLLM | GpuPool) =>
    Promise.all(
      CHATS.flatMap((messages) => [
        llm.chat(messages, { temperature: 0, maxTokens: 20 }).finish(),
        llm.chat(messages, { temperature: 0.9, seed: 3, maxTokens: 20 }).finish(),
      ]),
    ).then((replies) => replies.map(({ tokenIds }) => tokenIds));
  const local = await LocalLLM.load(nodePlatform, SPROUT, OPTIONS);
  const expected = await ask(local);
  const { memory, ...info } = local.info;
  await local.dispose();
  for (const stages of [2, 3]) {
    const pool = await GpuPool.load([new TestHost(0, stages)], SPROUT, OPTIONS);
    expect(await ask(pool)).toEqual(expected);
    const { memory: staged, ...rest } = pool.info;
    expect(rest).toEqual(info);
    expect(staged.kvCache).toBe(memory.kvCache);
    expect(staged.recurrentState).toBe(memory.recurrentState);
    await pool.dispose();
  }
}, 900_000);

test("weights that are made up are the same in 2 and in 3 stages as in one", async () => {
  const options = { ...OPTIONS, loadFormat: "dummy", quantization: "q8" } as const;
  const ask = (llm: LocalLLM | GpuPool) =>
    llm.generate([1, 2, 3], { temperature: 0, maxTokens: 16, ignoreEos: true }).finish();
  const local = await LocalLLM.load(nodePlatform, folder, options);
  const { tokenIds } = await ask(local);
  expect(new Set(tokenIds).size).toBeGreaterThan(4);
  await local.dispose();
  for (const stages of [2, 3]) {
    const pool = await GpuPool.load([new TestHost(0, stages)], folder, options);
    expect((await ask(pool)).tokenIds).toEqual(tokenIds);
    await pool.dispose();
  }
}, 300_000);

describe("a stage that ends", () => {
  test("ends its replies with one error; all stages are started again, and nothing of them is left in the end", async () => {
    const host = new TestHost(0, 2);
    const times = { waitMs: 100_000, restartMs: [10, 100] as const };
    const pool = await GpuPool.load([host], folder, { ...OPTIONS, maxContext: 4096, cacheTokens: 4096, times });
    // It has not ended when it is met, however quick the machine is.
    const params = { temperature: 0, maxTokens: 4000, ignoreEos: true };
    const expected = (await pool.generate([1, 2, 3], { ...params, maxTokens: 8 }).finish()).tokenIds;
    for (const victim of [0, 1]) {
      const children = host.children;
      expect(children).toHaveLength(2);
      let error: unknown;
      try {
        for await (const event of pool.generate([1, 2, 3], params)) {
          if (event.kind === "text" && isAlive(children[victim])) process.kill(children[victim], "SIGKILL");
        }
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(WorkerLostError);
      expect(error).toMatchObject({ hasBegun: true });
      expect((await pool.generate([1, 2, 3], { ...params, maxTokens: 8 }).finish()).tokenIds).toEqual(expected);
      await expect.poll(() => children.filter(isAlive)).toEqual([]);
    }
    const children = host.children;
    await pool.dispose();
    await expect.poll(() => children.filter(isAlive)).toEqual([]);
    await expect.poll(() => readdirSync(temporary)).toEqual([]);
  }, 600_000);

  test("in the midst of loading fails the loading, as a missing model does", async () => {
    const missing = await GpuPool.load([new TestHost(0, 2)], "no/such/folder", OPTIONS).catch((error) => error);
    expect(missing).toBeInstanceOf(CheckpointError);
    const host = new TestHost(0, 2);
    let isKilled = false;
    const onProgress = () => {
      if (isKilled || host.children.length < 2) return;
      isKilled = true;
      process.kill(host.children[1], "SIGKILL");
    };
    const error = await GpuPool.load([host], SPROUT, { ...OPTIONS, onProgress }).catch((error) => error);
    expect(error).toMatchObject({ name: "WorkerError", message: expect.stringMatching(/stage 1: ended by SIGKILL/) });
  }, 300_000);
});
