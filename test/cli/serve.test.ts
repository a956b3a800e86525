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

it("serves from two processes, and says which is which", async () => {
  const args = ["-tp", "2", "--reference", "--max-model-len", "256", "--max-num-seqs", "1"];
  const { child, match, said } = await start(args, /Sluice serves \S+ on (http:\S+)\/v1/);
  expect(said()).toContain("Split: 2 whole models, a process each.");
  expect(said()).toMatch(/worker 1, CPU reference: .* \(weights /);
  const api = client(match[1]);
  const ask = () => api.post("/v1/completions", { prompt: "Once", max_tokens: 3, temperature: 0, ignore_eos: true });
  const replies = await Promise.all([ask(), ask()].map(async (reply) => (await (await reply).json()).choices[0].text));
  expect(replies[0]).toBe(replies[1]);
  const metrics = await (await api.get("/metrics")).text();
  expect(metrics).toMatch(/vllm:worker_up\{.*engine="1",worker="worker 1, CPU reference"\} 1/);
  expect(metrics).toMatch(/vllm:prefix_cache_queries_total\{.*engine="1"\} [1-9]/);
  // As a terminal does for Ctrl-C: the processes of the GPUs live on until the server has ended.
  child.kill("SIGINT");
  expect(await ended(child)).toBe(0);
});

it("serves from two stages", async () => {
  const args = ["-pp", "2", "--max-model-len", "256", "--max-num-seqs", "1", "--dtype", "f32"];
  const { child, match, said } = await start(args, /Sluice serves \S+ on (http:\S+)\/v1/);
  expect(said()).toContain("Split: one model, in 2 stages of consecutive layers.");
  const body = { prompt: "Once upon a time", max_tokens: 3, temperature: 0, ignore_eos: true };
  expect((await client(match[1]).post("/v1/completions", body)).status).toBe(200);
  child.kill("SIGTERM");
  expect(await ended(child)).toBe(0);
});

it.each([
  { args: ["serve", "--gpus", "0;1"], code: 2, says: "such as 0,1" },
  { args: ["serve", "--gpus", "1,1", "--reference"], code: 1, says: "named twice" },
  { args: ["serve", "--gpus", "0,1", "-dp", "3", "--reference"], code: 1, says: "2 are named, and 3 are to be used" },
  { args: ["serve", "--gpus", "0,1,2", "-pp", "2", "--reference"], code: 1, says: "3 are named, and 2 are to be used" },
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
