import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { Browser, BrowserContext, Page } from "playwright";
import type { ViteDevServer } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packItems } from "../../src/models/qwen3-next/pack-items.ts";
import { syntheticModel } from "../../src/models/qwen3-next/synthetic.ts";
import { convertWeights } from "../../src/models/qwen3-next/weights.ts";
import { madeUpSource } from "../../src/weights/made-up.ts";
import { writePack } from "../../src/weights/packed/write-pack.ts";
import { deviceFormat } from "../../src/weights/plan-format.ts";
import { launchBrowser, launchWithProfile } from "../support/browser.ts";
import { type FileServer, serveFiles } from "../support/file-server.ts";
import { MemoryPack } from "../support/memory-pack.ts";
import { packModel } from "../support/pack-model.ts";
import type { PagingTests, Replies } from "../support/paging-page.ts";
import { serveStorePage } from "../support/store-page-server.ts";

declare const tests: PagingTests;

/** The whole of what is promised takes minutes. */
const isLong = process.env.SLUICE_LONG !== undefined;
const TOKENS = isLong ? 256 : 16;
const TIMEOUT = isLong ? 1_800_000 : 240_000;

let vite: ViteDevServer;
let server: FileServer;
let origin: string;

beforeAll(async () => {
  [vite, server] = await Promise.all([serveStorePage("paging-page.ts", { isolated: true }), serveFiles({})]);
  origin = vite.resolvedUrls!.local[0];
});

afterAll(async () => {
  await vite?.close();
  await server?.close();
});

/** A packed model as files of the server. */
function serve(name: string, { files }: MemoryPack): string {
  for (const [file, bytes] of files) server.files[`${name}/${file}`] = bytes;
  return `${server.url}/${name}`;
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

describe("Sprout in a page, with a quarter of its experts on the device", () => {
  const prompt = Array.from({ length: isLong ? 2000 : 40 }, (_, i) => (3 + i * i * 7 + i * 13) % 8000);
  const options = { maxContext: isLong ? 4096 : 256, maxBatchTokens: isLong ? 512 : 64 };
  let profile: string;
  let context: BrowserContext;
  let url: string;
  let expected: Replies;

  beforeAll(async () => {
    const { target } = await packModel("demo/public/models/sprout");
    url = serve("sprout", target);
    profile = await mkdtemp(join(tmpdir(), "sluice-profile-"));
    context = await launchWithProfile(profile);
    expected = await replies({ store: "none" });
  }, TIMEOUT);

  afterAll(async () => {
    await context?.close();
    await rm(profile, { recursive: true, force: true });
  });

  async function openPage(): Promise<Page> {
    const page = await context.newPage();
    await page.goto(`${origin}store-page`);
    await page.waitForFunction("globalThis.tests");
    return page;
  }

  async function replies(more: object): Promise<Replies> {
    const page = await openPage();
    const found = await page.evaluate(([url, prompt, tokens, options]) => tests.replies(url, prompt, tokens, options), [
      url,
      prompt,
      TOKENS,
      { ...options, ...more },
    ] as const);
    await page.close();
    return found;
  }

  const expectPaging = ({ paging }: Replies) => {
    expect(paging).toMatchObject({ slots: 6, experts: 24 });
    for (const { misses, bytes } of paging!.layers) {
      expect(misses).toBeGreaterThan(0);
      expect(bytes).toBeGreaterThan(0);
    }
  };

  it(
    "writes over HTTP what it writes when all are there",
    async () => {
      expect(expected.paging).toBeUndefined();
      expect(expected.tokenIds.map((ids) => ids.length)).toEqual([TOKENS, TOKENS]);
      const paged = await replies({ store: "none", memory: "25%" });
      expect(paged.tokenIds).toEqual(expected.tokenIds);
      expectPaging(paged);
    },
    TIMEOUT,
  );

  it.each(["indexeddb", "opfs"] as const)(
    "writes the same from %s, without the network",
    async (store) => {
      const page = await openPage();
      const devtools = await context.newCDPSession(page);
      await devtools.send("Storage.clearDataForOrigin", { origin: origin.replace(/\/$/, ""), storageTypes: "all" });
      await page.evaluate(([url, store]) => tests.keep(url, store), [url, store] as const);
      await page.close();
      server.onRequest = (request) => Boolean(request.socket.destroy());
      try {
        const paged = await replies({ store, memory: "25%" });
        expect(paged.fetchedBytes).toBe(0);
        expect(paged.tokenIds).toEqual(expected.tokenIds);
        expectPaging(paged);
      } finally {
        server.onRequest = () => false;
      }
    },
    TIMEOUT,
  );
});

describe("a model whose experts are five times the budget", () => {
  const SHAPE = {
    model_type: "qwen3_next",
    vocab_size: 256,
    hidden_size: 1024,
    num_hidden_layers: 4,
    max_position_embeddings: 1024,
    rope_theta: 1e7,
    num_experts: 96,
    num_experts_per_tok: 8,
    moe_intermediate_size: 512,
    shared_expert_intermediate_size: 64,
    head_dim: 64,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    linear_num_key_heads: 2,
    linear_num_value_heads: 4,
    linear_key_head_dim: 32,
    linear_value_head_dim: 32,
  };
  // Four layers of 96 experts of three matrices of 4.5 bits a weight.
  const allBytes = (4 * 96 * 3 * 1024 * 512 * 4.5) / 8;
  const BUDGET = allBytes / 5;
  const SLACK = 64 * 2 ** 20;
  let browser: Browser;
  let url: string;

  beforeAll(async () => {
    const { checkpoint, sources } = syntheticModel(SHAPE);
    const made = convertWeights(sources, (source) => madeUpSource(source, deviceFormat(source, "q4")));
    const pack = new MemoryPack();
    await writePack(pack, checkpoint, packItems(made, { quantization: "q4" }), { shardBytes: 2 ** 26 });
    url = serve("large", pack);
    // Measures at once instead of waiting for the next collection.
    browser = await launchBrowser(undefined, ["--enable-blink-features=ForceEagerMeasureMemory"]);
  }, TIMEOUT);

  afterAll(() => browser?.close());

  it(
    "stays within the plan and 64 MB, whatever was read",
    async () => {
      const page = await browser.newPage();
      await page.goto(`${origin}store-page`);
      await page.waitForFunction("globalThis.tests");
      const plan = await page.evaluate(
        ([url, memory]) =>
          tests.start(url, 24, { store: "none", memory, quantization: "q4", maxContext: 256, maxBatchTokens: 16 }),
        [url, BUDGET] as const,
      );
      expect(plan.total).toBeLessThanOrEqual(BUDGET);
      const script: number[] = [];
      const reply = page.evaluate(() => tests.finish());
      let isRunning = true;
      reply.finally(() => {
        isRunning = false;
      });
      while (isRunning) {
        script.push(await page.evaluate(() => tests.scriptBytes()));
        await setTimeout(200);
      }
      const { tokens, paging } = await reply;
      const { peakBytes } = await page.evaluate(() => tests.gpuBytes());
      const read = sum(paging!.layers.map(({ bytes }) => bytes));
      console.log(
        `plan ${plan.total}, GPU ${peakBytes}, scripts ${Math.max(...script)} of ${script.length}, read ${read}, ${tokens} tokens`,
      );
      expect(tokens).toBe(24);
      expect(read).toBeGreaterThan(allBytes);
      expect(peakBytes).toBeGreaterThan(0.9 * plan.total);
      expect(peakBytes + Math.max(...script)).toBeLessThan(plan.total + SLACK);
    },
    TIMEOUT,
  );
});
