import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BrowserContext, Page } from "playwright";
import type { ViteDevServer } from "vite";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { launchWithProfile } from "../support/browser.ts";
import { type FileServer, serveFiles } from "../support/file-server.ts";
import { random } from "../support/random.ts";
import { fixtureFolder } from "../support/reference-model.ts";
import type { LoadTest, StoreTests } from "../support/store-page.ts";
import { serveStorePage } from "../support/store-page-server.ts";

declare const tests: StoreTests;

const MIB = 2 ** 20;
const data = noise(9 * MIB + 12_345);
const digest = createHash("sha256").update(data).digest("hex");

let vite: ViteDevServer;
let server: FileServer;
let profile: string;
let context: BrowserContext;
let origin: string;

beforeAll(async () => {
  profile = await mkdtemp(join(tmpdir(), "sluice-profile-"));
  [vite, context, server] = await Promise.all([
    serveStorePage(),
    launchWithProfile(profile),
    serveFiles({ "m/data": data }),
  ]);
  origin = vite.resolvedUrls!.local[0];
});

afterAll(async () => {
  await context?.close();
  await vite?.close();
  await server?.close();
  await rm(profile, { recursive: true, force: true });
});

/** A page, whose origin has nothing stored. */
let page: Page;

beforeEach(async () => {
  for (const old of context.pages().slice(1)) await old.close();
  server.log.length = 0;
  server.onRequest = () => false;
  page = await openPage();
  const devtools = await context.newCDPSession(page);
  await devtools.send("Storage.clearDataForOrigin", { origin: origin.replace(/\/$/, ""), storageTypes: "all" });
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

const load = (options: LoadTest = {}, tab = page) =>
  tab.evaluate(([url, options]) => tests.load(url, ["data"], options), [`${server.url}/m`, options] as const);
const reads = () => server.log.filter((line) => line.startsWith("GET m/data ") && !line.endsWith("bytes=0-1"));
/** The address of a model of four layers. */
async function serveTiny(): Promise<string> {
  const folder = fixtureFolder("qwen3-next-tiny");
  for (const name of ["config.json", "generation_config.json", "model.safetensors"]) {
    server.files[`tiny/${name}`] = await readFile(join(folder, name));
  }
  return `${server.url}/tiny`;
}
const goOffline = () => {
  server.onRequest = (request) => Boolean(request.socket.destroy());
};

describe("stores in a browser", () => {
  it("keep the contract", async () => {
    for (const seed of [1, 2]) await page.evaluate((seed) => tests.contract(seed), seed);
  });

  it.each(["indexeddb", "opfs"] as const)("loads a model once into %s, and again offline", async (store) => {
    expect((await load({ store })).digests).toEqual([digest]);
    expect(reads()).toHaveLength(5);
    goOffline();
    const again = await load({ store });
    expect(again.digests).toEqual([digest]);
    expect(again.report).toMatchObject({ kind: store, fetchedBytes: 0, storedBytes: data.length });
  });

  it("finds what another choice has stored", async () => {
    await load({ store: "opfs" });
    goOffline();
    expect((await load()).report).toMatchObject({ kind: "opfs", fetchedBytes: 0 });
  });

  it.each(["indexeddb", "opfs"] as const)("goes on where a tab was closed in mid-download (%s)", async (store) => {
    // The size and two records come, the rest never does.
    server.onRequest = (_, __, nth) => nth >= 3;
    const loading = load({ store }).catch(() => {});
    await expect.poll(() => page.evaluate(() => tests.storedBytes())).toBeGreaterThan(0);
    await page.close({ runBeforeUnload: false });
    await loading;
    server.onRequest = () => false;
    server.log.length = 0;
    page = await openPage();
    const { digests, report } = await load({ store });
    expect(digests).toEqual([digest]);
    expect(report.storedBytes).toBe(data.length);
    expect(report.fetchedBytes).toBeLessThan(data.length);
  });

  it.each(["indexeddb", "opfs"] as const)("gives two tabs that load at once one download (%s)", async (store) => {
    const other = await openPage();
    server.onRequest = (request, response) => {
      // Slow enough for both to want the same.
      if (!request.url?.endsWith("/data")) return false;
      const range = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? "");
      const [from, to] = [Number(range?.[1] ?? 0), Number(range?.[2] ?? 0) + 1];
      setTimeout(() => {
        const end = Math.min(to, data.length);
        response.writeHead(206, {
          "content-range": `bytes ${from}-${end - 1}/${data.length}`,
          "access-control-allow-origin": "*",
          "access-control-expose-headers": "content-range",
        });
        response.end(data.subarray(from, end));
      }, 100);
      return true;
    };
    const results = await Promise.all([load({ store }), load({ store }, other)]);
    for (const { digests, report } of results) {
      expect(digests).toEqual([digest]);
      expect(report.notice).toBeUndefined();
    }
    // Five each, had they not shared.
    expect(reads().length).toBeLessThan(10);
    goOffline();
    expect((await load({ store }, other)).digests).toEqual([digest]);
  });

  it.each(["indexeddb", "opfs"] as const)("goes on without %s when the quota runs out", async (store) => {
    const devtools = await context.newCDPSession(page);
    const quotaSize = 5 * MIB;
    await devtools.send("Storage.overrideQuotaForOrigin", { origin: origin.replace(/\/$/, ""), quotaSize });
    const first = await load({ store });
    expect(first.digests).toEqual([digest]);
    expect(first.report.notice).toMatch(/no room for the whole model/);
    expect(first.report.storedBytes).toBeLessThan(data.length);
    expect((await load({ store })).digests).toEqual([digest]);
    await devtools.send("Storage.overrideQuotaForOrigin", { origin: origin.replace(/\/$/, "") });
    expect((await load({ store })).report).toMatchObject({ storedBytes: data.length });
  });

  it("fetches anew what was changed in the store", async () => {
    await load({ store: "opfs" });
    await page.evaluate(() => tests.flipByte(5_000_000));
    server.log.length = 0;
    const { digests } = await load({ store: "opfs" });
    expect(digests).toEqual([digest]);
    expect(reads()).toEqual(["GET m/data bytes=4194304-6291455"]);
  });

  it("gives way when the database is deleted while a model is loaded, and reads on", async () => {
    const result = await page.evaluate(
      ([url]) => tests.loadWhile(url, "data", () => tests.deleteDatabase()),
      [`${server.url}/m`],
    );
    expect(result.digest).toBe(digest);
    expect(result.notice).toMatch(/removed while it was in use/);
    expect((await load()).report).toMatchObject({ storedBytes: data.length });
  });

  it("keeps what was fetched of a model that is disposed of at once", async () => {
    const url = await serveTiny();
    const fetched = await page.evaluate((url) => tests.fetchedUntilDisposed(url), url);
    expect(fetched).toBeGreaterThan(0);
    const [{ storedBytes }] = await page.evaluate(() => tests.list());
    expect(storedBytes).toBeGreaterThanOrEqual(fetched);
  });

  it("keeps a model that a page loads, lists it, runs it offline, exports and removes it", async () => {
    const url = await serveTiny();
    const generate = () => page.evaluate((url) => tests.generate(url), url);
    await page.evaluate(() => {
      StorageManager.prototype.persist = async () => Boolean(Object.assign(globalThis, { isPersistAsked: true }));
    });
    const first = await generate();
    expect(await page.evaluate("isPersistAsked")).toBe(true);
    expect(first.store?.fetchedBytes).toBeGreaterThan(0);
    const list = () => page.evaluate(() => tests.list());
    goOffline();
    const again = await generate();
    expect(again.tokenIds).toEqual(first.tokenIds);
    expect(again.store).toMatchObject({ kind: "indexeddb", fetchedBytes: 0 });
    const [{ source, storedBytes }] = await list();
    expect(source).toBe(url);
    expect(await page.evaluate((url) => tests.exportedBytes(url), url)).toBeGreaterThan(storedBytes);
    await page.evaluate((url) => tests.remove(url), url);
    expect(await list()).toEqual([]);
  });

  it("measures the stores", async () => {
    const probes = await page.evaluate(() => tests.probe(2 ** 20, 20));
    expect(probes.map(({ kind, form, readers }) => form ?? `${kind} ${readers}`)).toEqual([
      ...["buffer", "blob", "opfs 1", "opfs 2", "opfs 4"],
    ]);
    for (const { readBytesPerSecond } of probes) expect(readBytesPerSecond).toBeGreaterThan(0);
    expect(await page.evaluate(() => tests.storedBytes())).toBe(0);
  });

  it("says so, and reads all the same, where nothing can be stored", async () => {
    await page.evaluate(() => {
      IDBFactory.prototype.open = () => {
        throw new DOMException("The operation is insecure.", "SecurityError");
      };
    });
    const { digest: read, notice } = await page.evaluate(([url]) => tests.loadAnyhow(url, "data"), [`${server.url}/m`]);
    expect(read).toBe(digest);
    expect(notice).toMatch(/cannot be stored here .*insecure.*private window/);
  });
});
