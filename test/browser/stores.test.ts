import { createHash } from "node:crypto";
import type { Browser, BrowserContext, Page } from "playwright";
import type { ViteDevServer } from "vite";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { launchBrowser } from "../support/browser.ts";
import { type FileServer, serveFiles } from "../support/file-server.ts";
import { random } from "../support/random.ts";
import type { StoreTests } from "../support/store-page.ts";
import { serveStorePage } from "../support/store-page-server.ts";

declare const tests: StoreTests;

const MIB = 2 ** 20;
const data = noise(9 * MIB + 12_345);
const digest = createHash("sha256").update(data).digest("hex");

let vite: ViteDevServer;
let server: FileServer;
let browser: Browser;
let context: BrowserContext;
let origin: string;

beforeAll(async () => {
  [vite, browser, server] = await Promise.all([serveStorePage(), launchBrowser(), serveFiles({ "m/data": data })]);
  origin = vite.resolvedUrls!.local[0];
});

afterAll(async () => {
  await browser?.close();
  await vite?.close();
  await server?.close();
});

beforeEach(async () => {
  await context?.close();
  context = await browser.newContext();
  server.log.length = 0;
  server.onRequest = () => false;
});

function noise(length: number): Uint8Array {
  const next = random(1);
  return Uint8Array.from({ length }, () => next() * 256);
}

async function openPage(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${origin}store-page`);
  await page.waitForFunction("globalThis.tests");
  return page;
}

const reads = () => server.log.filter((line) => line.startsWith("GET m/data ") && !line.endsWith("bytes=0-1"));

describe("stores in a browser", () => {
  it("loads a model once, and again offline", async () => {
    const page = await openPage();
    const load = (url: string) => page.evaluate((url) => tests.load(url, ["data"]), url);
    const first = await load(`${server.url}/m`);
    expect(first.digests).toEqual([digest]);
    expect(reads()).toHaveLength(5);
    server.onRequest = (request) => Boolean(request.socket.destroy());
    const again = await load(`${server.url}/m`);
    expect(again.digests).toEqual([digest]);
    expect(again.report).toMatchObject({ kind: "indexeddb", fetchedBytes: 0, storedBytes: data.length });
  });
});
