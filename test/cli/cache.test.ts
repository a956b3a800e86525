import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildCli, sluice } from "../support/cli.ts";
import { type FileServer, serveFiles } from "../support/file-server.ts";
import { fixtureFolder } from "../support/reference-model.ts";

const MODEL = fixtureFolder("qwen3-next-tiny");

let server: FileServer;
let folder: string;
let source: string;

beforeAll(async () => {
  await buildCli();
  folder = await mkdtemp(join(tmpdir(), "sluice-cache-"));
  process.env.SLUICE_CACHE = join(folder, "cache");
  const names = (await readdir(MODEL)).filter((name) => /^(config|generation_config|model)\./.test(name));
  const files = names.map(async (name) => [`m/${name}`, await readFile(join(MODEL, name))] as const);
  server = await serveFiles(Object.fromEntries(await Promise.all(files)));
  source = `${server.url}/m`;
  await writeFile(join(folder, "tokens.json"), "[1, 2, 3]");
});

afterAll(async () => {
  delete process.env.SLUICE_CACHE;
  await server.close();
  await rm(folder, { recursive: true });
});

const generate = (...args: string[]) => {
  const tokens = ["--tokens", join(folder, "tokens.json"), "--max-tokens", "3", "--temperature", "0"];
  return sluice(["generate", source, ...tokens, "--reference", ...args]);
};

it("keeps a model of the network, lists it, runs it without the server, and removes it", async () => {
  const uncached = await generate("--no-cache");
  expect(uncached).toMatchObject({ code: 0 });
  expect((await sluice(["cache", "ls"])).stdout).toContain("holds no models");
  const first = await generate();
  expect(first.stdout).toBe(uncached.stdout);
  const { stdout } = await sluice(["cache", "ls", "--json"]);
  expect(JSON.parse(stdout)).toMatchObject([{ source, isComplete: true }]);
  await server.close();
  expect((await generate()).stdout).toBe(first.stdout);
  expect((await sluice(["cache", "ls"])).stdout).toContain(source);
  expect((await sluice(["cache", "rm", source])).code).toBe(0);
  const again = await sluice(["cache", "rm", source]);
  expect(again.code).toBe(1);
  expect(again.stderr).toContain("is not stored here");
});
