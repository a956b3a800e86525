import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NodeStores } from "../../src/platform/node/stores.ts";
import { CachedSource, type CacheOptions } from "../../src/stores/cached-source.ts";
import type { Stores } from "../../src/stores/weight-store.ts";
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
});
