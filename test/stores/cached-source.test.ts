import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NodeStores } from "../../src/platform/node/stores.ts";
import { CachedSource, type CacheOptions } from "../../src/stores/cached-source.ts";
import { StoreError, type Stores } from "../../src/stores/weight-store.ts";
import { httpSource } from "../../src/weights/http-source.ts";
import { type FileServer, serveFiles } from "../support/file-server.ts";
import { random } from "../support/random.ts";

const MIB = 2 ** 20;
const quick = { firstDelayMs: 1, attempts: 3, stallMs: 2_000 };
const data = noise(9 * MIB + 12_345, 1);

let folder: string;
let server: FileServer;
const open: CachedSource[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-stores-"));
  server = await serveFiles({ "m/config.json": "{}", "m/data": data });
});

afterEach(async () => {
  for (const source of open.splice(0)) await source.close();
  await server.close();
  await rm(folder, { recursive: true });
});

function noise(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const next = random(seed);
  return Uint8Array.from({ length }, () => next() * 256);
}

/** The model on the server, stored in the test's folder. */
async function openCached(
  options: CacheOptions = {},
  stores: Stores = new NodeStores("auto", folder),
): Promise<CachedSource> {
  const source = await CachedSource.open(httpSource(`${server.url}/m`, quick), stores, options);
  open.push(source);
  return source;
}

/** `toEqual` takes a minute for so many bytes. */
const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
const reads = () => server.log.filter((line) => line.startsWith("GET m/data ") && !line.endsWith("bytes=0-1"));

describe("CachedSource", () => {
  it("reads what the server has, fetches each record once, and reads it again without the server", async () => {
    const source = await openCached();
    expect(await source.size("data")).toBe(data.length);
    expect(await source.size("chat_template.jinja")).toBeUndefined();
    expect(await source.read("config.json")).toEqual(new TextEncoder().encode("{}"));
    const part = { from: 3 * MIB, to: 5 * MIB + 7 };
    expect(same(await source.read("data", part), data.subarray(part.from, part.to))).toBe(true);
    await source.complete();
    expect(new Set(reads()).size).toBe(reads().length);
    expect(reads()).toHaveLength(5);
    await source.close();
    await server.close();

    const again = await openCached();
    expect(await again.read("config.json")).toEqual(new TextEncoder().encode("{}"));
    expect(same(await again.read("data"), data)).toBe(true);
    expect(await again.size("chat_template.jinja")).toBeUndefined();
    expect(again.report).toMatchObject({ kind: "files", fetchedBytes: 0, storedBytes: data.length + 2 });
  });

  it("is read from before all is there, and goes on where it was left", async () => {
    const first = await openCached({ fill: false });
    expect(same(await first.read("data", { from: 0, to: 100 }), data.subarray(0, 100))).toBe(true);
    expect(reads()).toEqual(["GET m/data bytes=0-2097151"]);
    await first.close();
    const second = await openCached({ fill: false });
    expect(same(await second.read("data"), data)).toBe(true);
    expect(reads()).toHaveLength(5);
  });

  it("fetches what is awaited before what is only useful", async () => {
    const source = await openCached();
    await source.read("data", { from: 0, to: 1 });
    await source.read("data", { from: 8 * MIB, to: 8 * MIB + 1 });
    await source.complete();
    expect(reads().indexOf("GET m/data bytes=8388608-9449528")).toBeLessThan(5);
    expect(source.report.storedBytes).toBe(data.length);
  });

  it("fetches anew what has changed on the server", async () => {
    const first = await openCached();
    await first.read("data");
    await first.complete();
    await first.close();
    const other = noise(3 * MIB, 2);
    server.files["m/data"] = other;
    const second = await openCached();
    expect(same(await second.read("data"), other)).toBe(true);
    expect(second.report.fetchedBytes).toBe(other.length);
    await second.close();
    expect((await readdir(join(folder, "weights"))).length).toBe(1);
  });

  it("mixes no versions: what was read while the server was away must still be what it has", async () => {
    const first = await openCached({ fill: false });
    await first.read("config.json");
    await first.read("data", { from: 0, to: 1 });
    await first.close();
    server.onRequest = (request) => Boolean(request.socket.destroy());
    const second = await openCached({ fill: false });
    await second.read("config.json");
    expect(same(await second.read("data", { from: 0, to: 1 }), data.subarray(0, 1))).toBe(true);
    server.onRequest = () => false;
    server.files["m/data"] = noise(9 * MIB + 12_345, 3);
    await expect(second.read("data", { from: 4 * MIB, to: 5 * MIB })).rejects.toThrow(/changed on its server/);
  });

  it("says so when a file changes in mid-download", async () => {
    const source = await openCached({ fill: false });
    await source.read("data", { from: 0, to: 1 });
    server.files["m/data"] = noise(9 * MIB + 12_345, 4);
    await expect(source.read("data", { from: 4 * MIB, to: 5 * MIB })).rejects.toThrow(/changed on the server/);
  });

  it("is complete and correct when the network drops every tenth request", async () => {
    server.files["m/data"] = noise(25 * MIB + 1, 5);
    server.onRequest = (request, _, nth) => nth % 10 === 9 && Boolean(request.socket.destroy());
    const source = await openCached();
    expect(same(await source.read("data"), server.files["m/data"] as Uint8Array)).toBe(true);
    await source.complete();
    expect(source.report.storedBytes).toBe(25 * MIB + 1);
  });

  it("gives one clear error when the server stays away, and goes on when it is back", async () => {
    const source = await openCached();
    await source.read("data", { from: 0, to: 1 });
    server.onRequest = (request) => Boolean(request.socket.destroy());
    await source.complete().then(
      () => expect(source.report.storedBytes).toBe(data.length),
      (error) => expect(error.message).toMatch(/3 attempts.*Check the connection/),
    );
    server.onRequest = () => false;
    expect(same(await source.read("data"), data)).toBe(true);
  });

  it("fetches anew a record of which a byte was flipped", async () => {
    const first = await openCached();
    await first.read("data");
    await first.close();
    const [name] = await readdir(join(folder, "weights"));
    const path = join(folder, "weights", name);
    const bytes = await readFile(path);
    bytes[5 * MIB] ^= 1;
    await writeFile(path, bytes);
    server.log.length = 0;
    const second = await openCached();
    expect(same(await second.read("data"), data)).toBe(true);
    expect(reads()).toEqual(["GET m/data bytes=4194304-6291455"]);
  });

  it("fetches anew what was cut off, and what was deleted", async () => {
    const first = await openCached();
    await first.read("data");
    await first.close();
    const [name] = await readdir(join(folder, "weights"));
    await truncate(join(folder, "weights", name), 7 * MIB);
    const second = await openCached();
    expect(same(await second.read("data"), data)).toBe(true);
    await second.complete();
    await second.close();
    expect(second.report.fetchedBytes).toBe(data.length - 6 * MIB);
    await rm(join(folder, "weights"), { recursive: true });
    expect(same(await (await openCached()).read("data"), data)).toBe(true);
  });

  it.each([0, 1, 2, 3, 4])("goes on without the store when it is full after %i records", async (records) => {
    const source = await openCached({}, fullAfter(new NodeStores("auto", folder), records));
    expect(same(await source.read("data"), data)).toBe(true);
    await source.complete();
    expect(source.report.notice).toMatch(/no room for the whole model/);
    await source.close();
    const again = await openCached({ fill: false });
    expect(same(await again.read("data"), data)).toBe(true);
    expect(again.report.fetchedBytes).toBeGreaterThan(0);
    expect(again.report.fetchedBytes).toBeLessThanOrEqual(data.length - Math.min(records, 1) * MIB);
  });

  it("reads what is stored where nothing more can be entered", async () => {
    const whole = await openCached();
    await whole.read("data");
    await whole.complete();
    await whole.close();
    const stores = new NodeStores("auto", folder);
    stores.index.update = () => Promise.reject(new StoreError("full", { isFull: true }));
    const again = await openCached({}, stores);
    server.log.length = 0;
    expect(same(await again.read("data"), data)).toBe(true);
    expect(reads()).toEqual([]);
    // A file of which nothing is stored.
    expect(await again.read("config.json")).toEqual(new TextEncoder().encode("{}"));
    expect(again.report.notice).toMatch(/no room for the whole model/);
  });

  it("stops storing a model that is removed while it is loaded", async () => {
    const stores = new NodeStores("auto", folder);
    const source = await openCached({ fill: false }, stores);
    await source.read("data", { from: 0, to: 1 });
    await rm(join(folder, "index"), { recursive: true });
    expect(same(await source.read("data"), data)).toBe(true);
    await source.close();
    expect(source.report.notice).toMatch(/removed while it was in use/);
    expect(await readdir(join(folder, "weights"))).toEqual([]);
  });

  it("goes on storing when it is closed, until it is closed again", async () => {
    const held: ServerResponse[] = [];
    const mayPass = new Set(["bytes=0-2097151", "bytes=2097152-4194303"]);
    server.onRequest = ({ headers: { range } }, response) => {
      const isHeld = range !== undefined && range !== "bytes=0-1" && !mayPass.has(range);
      if (isHeld) held.push(response);
      return isHeld;
    };
    const source = await openCached({ outliveClose: true });
    await source.read("data", { from: 0, to: 1 });
    await source.close();
    await expect.poll(() => source.report.storedBytes, { timeout: 20_000 }).toBe(4 * MIB);
    await source.close();
    for (const response of held) response.destroy();
    server.onRequest = () => false;
    const again = await openCached({ fill: false });
    expect(same(await again.read("data"), data)).toBe(true);
    expect(again.report.fetchedBytes).toBe(data.length - 4 * MIB);
  });

  it("ends what is under way when it is closed, and when a reader aborts only his wait", async () => {
    const source = await openCached({ fill: false });
    await source.size("data");
    const held: (() => void)[] = [];
    server.onRequest = (_, response) => {
      held.push(() => response.destroy());
      return true;
    };
    const abort = new AbortController();
    const aborted = source.read("data", { from: 0, to: 1 }, abort.signal);
    const closed = source.read("data", { from: 0, to: 1 });
    abort.abort(new Error("enough"));
    await expect(aborted).rejects.toThrow("enough");
    await Promise.all([expect(closed).rejects.toThrow(/was closed/), source.close()]);
    for (const end of held) end();
  });

  it("checks records by the hashes of a manifest, and asks twice before it gives up", async () => {
    const bounds = [0, MIB, 3 * MIB, data.length];
    const check = (from: number, to: number, bytes = data) => {
      return [{ from, to, sha256: createHash("sha256").update(bytes.subarray(from, to)).digest("hex") }];
    };
    const checks = [check(0, 99), check(MIB, 3 * MIB), check(4 * MIB, 5 * MIB, noise(5 * MIB, 6))];
    const source = await openCached({ fill: false });
    source.divide("data", { bounds, checks });
    expect(same(await source.read("data", { from: MIB - 1, to: MIB + 1 }), data.subarray(MIB - 1, MIB + 1))).toBe(true);
    expect(reads().sort()).toEqual(["GET m/data bytes=0-1048575", "GET m/data bytes=1048576-3145727"]);
    await expect(source.read("data", { from: 4 * MIB, to: 5 * MIB })).rejects.toThrow(/not those of the manifest/);
    expect(reads()).toHaveLength(4);
  });
});

/** Stores that have no more room after some records. */
function fullAfter(stores: NodeStores, records: number): Stores {
  let written = 0;
  const open = stores.open.bind(stores);
  stores.open = async (kind) => {
    const store = await open(kind);
    const write = store.write.bind(store);
    store.write = async (...record) => {
      if (written++ >= records) throw new StoreError("full", { isFull: true });
      return write(...record);
    };
    return store;
  };
  return stores;
}
