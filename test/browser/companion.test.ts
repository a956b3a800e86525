import type { Browser, Page } from "playwright";
import type { ViteDevServer } from "vite";
import { afterAll, beforeAll, expect, it } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import { createServer, type LLMServer } from "../../src/server.ts";
import { launchBrowser } from "../support/browser.ts";
import type { CompanionTests } from "../support/companion-page.ts";
import { ObservedPlatform } from "../support/observed-platform.ts";
import { random } from "../support/random.ts";
import { shapingProxy } from "../support/shaping-proxy.ts";
import { serveStorePage } from "../support/store-page-server.ts";

declare const tests: CompanionTests;

const PARAMS = { temperature: 0, maxTokens: 6 };

let host: LocalLLM;
let server: LLMServer;
let url: string;
let vite: ViteDevServer;
let browser: Browser;
let page: Page;

beforeAll(async () => {
  const options = { maxContext: 128, device: { dtype: "f32" } } as const;
  host = await LocalLLM.load(new ObservedPlatform(), "demo/public/models/sprout", options);
  server = createServer(host, { apiKeys: ["secret"], onRefusedLink: () => {} });
  [url, vite, browser] = await Promise.all([
    server.listen({ port: 0 }),
    serveStorePage("companion-page.ts"),
    launchBrowser(),
  ]);
  await server.ready();
  page = await browser.newPage();
  await page.goto(`${vite.resolvedUrls!.local[0]}store-page`);
  await page.waitForFunction(() => "tests" in globalThis);
});

afterAll(async () => {
  await browser?.close();
  await vite?.close();
  await server?.close({ timeoutMs: 100 });
  await host?.dispose();
});

it.each(["requests", "experts", "layers", "auto"] as const)(
  "a page leaves %s to a companion and writes what that would",
  async (mode) => {
    const prompt = await host.tokenize("Once upon a time");
    const { tokenIds } = await host.generate(prompt, PARAMS).finish();
    const { ids, sums, passes } = await page.evaluate(
      ([url, mode, prompt, params]) => tests.reply({ url, key: "secret", mode }, prompt, params),
      [url, mode, prompt, PARAMS] as const,
    );
    expect(ids).toEqual(tokenIds);
    if (mode === "auto") return;
    expect(sums > 0).toBe(mode === "experts");
    expect(passes > 0).toBe(mode === "layers");
  },
);

it("a page loses and repeats no token where its link breaks again and again", async () => {
  const proxy = await shapingProxy(url);
  const params = { temperature: 1, seed: 3, maxTokens: 16 };
  const prompt = await host.tokenize("Once upon a time");
  const { tokenIds } = await host.generate(prompt, params).finish();
  const next = random(2);
  let kills = 0;
  const kill = () => {
    kills++;
    proxy.kill();
    timer = setTimeout(kill, 500 + 1000 * next());
  };
  let timer = setTimeout(kill, 300);
  const { ids, passes } = await page.evaluate(
    ([url, prompt, params]) => tests.reply({ url, key: "secret", mode: "layers", patienceMs: 120_000 }, prompt, params),
    [proxy.url, prompt, params] as const,
  );
  clearTimeout(timer);
  expect(ids).toEqual(tokenIds);
  expect(passes).toBeGreaterThanOrEqual(16);
  expect(kills).toBeGreaterThan(0);
  await proxy.close();
});

it("a page with a wrong key is told so", async () => {
  const refusal = await page.evaluate((url) => tests.refusal({ url, key: "wrong" }), url);
  expect(refusal).toBe("CompanionError refused");
});
