import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildCli, onTestAdapter, sluice } from "../support/cli.ts";
import { client, dataOf } from "../support/http.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "sluice-serve-"));

beforeAll(buildCli);
afterAll(() => rmSync(folder, { recursive: true }));

/** Starts `sluice serve` and waits for a text in what it says. */
async function start(args: readonly string[], until: RegExp) {
  const child = spawn(
    process.execPath,
    [`${root}/dist/node/cli.js`, "serve", "--port", "0", ...args, ...onTestAdapter],
    {
      cwd: root,
    },
  );
  let said = "";
  const match = await new Promise<RegExpExecArray>((resolve, reject) => {
    child.stderr.setEncoding("utf8").on("data", (text) => {
      said += text;
      const found = until.exec(said);
      if (found) resolve(found);
    });
    child.on("close", (code) => reject(new Error(`ended with ${code}: ${said}`)));
  });
  return { child, match, said: () => said };
}

const ended = (child: ChildProcess) => new Promise((resolve) => child.on("close", resolve));

it("serves Sprout, and ends what is under way before it obeys SIGTERM", async () => {
  const keys = join(folder, "keys.txt");
  writeFileSync(keys, "# whose\nfirst\n\nsecond\n");
  const args = ["--api-key-file", keys, "--served-model-name", "tiny", "--max-model-len", "0.5k", "--dtype", "f32"];
  const { child, match, said } = await start(args, /Sluice serves \S+ on (http:\S+)\/v1/);
  expect(said()).toContain("Application startup complete.");
  expect(said()).toMatch(/GPU KV cache size: \d+ tokens; 16 replies/);
  const api = client(match[1]);
  expect((await api.post("/v1/chat/completions", {})).status).toBe(401);
  const headers = { Authorization: "Bearer second" };
  const models = await (await api.get("/v1/models", { headers })).json();
  expect(models).toMatchObject({ data: [{ id: "tiny", max_model_len: 512 }] });
  const body = { prompt: "Once upon a time", max_tokens: 60, stream: true, ignore_eos: true };
  const reply = await api.post("/v1/completions", body, { headers });
  child.kill("SIGTERM");
  const events = dataOf(await reply.text());
  expect(events.at(-1)).toBe("[DONE]");
  expect(events.at(-2)).toContain('"finish_reason":"length"');
  expect(await ended(child)).toBe(0);
});

it.each([
  { args: ["serve", "nowhere"], code: 1, says: "nowhere: there is no such folder" },
  { args: ["serve", "--api-key-file", "nowhere.txt"], code: 1, says: "nowhere.txt cannot be read" },
  { args: ["serve", "--max-model-len", "many"], code: 2, says: "32k" },
  { args: ["serve", "--default-chat-template-kwargs", "[1]"], code: 2, says: "JSON object" },
  { args: ["serve", "--host", "203.0.113.7"], code: 1, says: "203.0.113.7" },
])("ends with one line for $args", async ({ args, code, says }) => {
  const run = await sluice([...args, ...(args.includes("--port") ? [] : ["--port", "0"])]);
  expect(run.code).toBe(code);
  expect(run.stderr).toContain(says);
  expect(run.stderr).not.toContain("    at ");
});
