import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, it } from "vitest";
import { NodeStores } from "../../src/platform/node/stores.ts";
import { CachedSource } from "../../src/stores/cached-source.ts";
import { ModelLibrary } from "../../src/stores/model-library.ts";
import { httpSource } from "../../src/weights/http-source.ts";
import { type FileServer, serveFiles } from "../support/file-server.ts";
import { modelFiles } from "../support/model-files.ts";

const quick = { firstDelayMs: 1, attempts: 2 };
const files = modelFiles();

let folder: string;
let server: FileServer;
let library: ModelLibrary;
let source: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sluice-library-"));
  server = await serveFiles(Object.fromEntries(Object.entries(files).map(([name, bytes]) => [`m/${name}`, bytes])));
  source = `${server.url}/m`;
  library = new ModelLibrary(
    () => new NodeStores("files", join(folder, "cache")),
    (address) => httpSource(address, quick),
  );
});

afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

it("downloads, lists, exports and removes a model", async () => {
  expect(await library.list()).toEqual([]);
  expect((await library.usage()).usedBytes).toBe(0);
  await library.download(`${source}/`);
  const sizeBytes = Object.values(files).reduce((sum, bytes) => sum + bytes.length, 0);
  const [model] = await library.list();
  expect(model).toMatchObject({ source, sizeBytes, storedBytes: sizeBytes, isComplete: true, stores: ["files"] });
  expect((await library.usage()).usedBytes).toBe(sizeBytes);

  await server.close();
  const archive = join(folder, "model.tar");
  await writeFile(archive, await library.export(source));
  await promisify(execFile)("tar", ["-xf", archive, "-C", folder]);
  for (const [name, bytes] of Object.entries(files)) {
    expect(new Uint8Array(await readFile(join(folder, name)))).toEqual(new Uint8Array(Buffer.from(bytes)));
  }

  await library.remove(source);
  expect(await library.list()).toEqual([]);
  expect((await library.usage()).usedBytes).toBe(0);
  await expect(library.export(source)).rejects.toThrow(/not stored whole. Download it first/);
});

it("says why a download ended, and goes on with the next one", async () => {
  server.onRequest = ({ url, headers }, response) => {
    const isWeights = url!.endsWith("safetensors") && headers.range !== "bytes=0-1";
    return isWeights && Boolean(response.destroy());
  };
  await expect(library.download(source)).rejects.toThrow(/model.safetensors: .*Check the connection/);
  const [model] = await library.list();
  expect(model.isComplete).toBe(false);
  await expect(library.export(source)).rejects.toThrow(/not stored whole/);
  server.onRequest = () => false;
  await library.download(source);
  expect((await library.list())[0].isComplete).toBe(true);
});

it("stops with its signal", async () => {
  const abort = new AbortController();
  server.onRequest = ({ url }) => {
    if (!url!.endsWith("safetensors")) return false;
    abort.abort(new Error("enough"));
    return true;
  };
  await expect(library.download(source, { signal: abort.signal })).rejects.toThrow("enough");
});

it("lists a .gguf by the address that it was loaded from", async () => {
  const files = { "q/a b.gguf": new Uint8Array(3_000_000) };
  const ggufs = await serveFiles(files);
  const address = `${ggufs.url}/q/a%20b.gguf`;
  const stores = new NodeStores("files", join(folder, "cache"));
  const cached = await CachedSource.open(httpSource(address, quick), stores);
  await cached.read("a b.gguf");
  await cached.complete();
  await cached.close();
  expect((await library.list()).map(({ source }) => source)).toEqual([address]);
  await library.remove(address);
  expect(await library.list()).toEqual([]);
  await ggufs.close();
});
