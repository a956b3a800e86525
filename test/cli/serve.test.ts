import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { buildCli, onTestAdapter, sluice } from "../support/cli.ts";
import { client, dataOf } from "../support/http.ts";
import { fixtureFolder } from "../support/reference-model.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "sluice-serve-"));

beforeAll(buildCli);
afterAll(() => rmSync(folder, { recursive: true }));

/** Starts `sluice serve` and waits for a text in what it says. */
async function start(args: readonly string[], until: RegExp, env: NodeJS.ProcessEnv = {}, command = "serve") {
  const child = spawn(
    process.execPath,
    [`${root}/dist/node/cli.js`, command, "--port", "0", ...args, ...onTestAdapter],
    {
      cwd: root,
      env: { ...process.env, ...env },
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
  // As under systemd.
  const told = join(folder, "told.txt");
  writeFileSync(join(folder, "systemd-notify"), `#!/bin/sh\necho "$@" >> ${told}\n`, { mode: 0o755 });
  const env = { NOTIFY_SOCKET: "/run/notify", PATH: `${folder}:${process.env.PATH}` };
  const { child, match, said } = await start(args, /Sluice serves \S+ on (http:\S+)\/v1/, env);
  expect(said()).toContain("Application startup complete.");
  child.kill("SIGHUP");
  expect(said()).toMatch(/GPU KV cache size: \d+ tokens; 16 replies/);
  const api = client(match[1]);
  expect((await api.post("/v1/chat/completions", {})).status).toBe(401);
  const headers = { Authorization: "Bearer second" };
  const models = await (await api.get("/v1/models", { headers })).json();
  expect(models).toMatchObject({ data: [{ id: "tiny", max_model_len: 512 }] });
  const load = ["--num-prompts", "3", "--random-input-len", "12", "--random-output-len", "4", "--ignore-eos"];
  const bench = (...more: string[]) => sluice(["bench", "serve", "--base-url", match[1], ...load, ...more]);
  expect(await bench()).toMatchObject({ code: 1, stderr: expect.stringContaining("401") });
  const saved = join(folder, "bench.json");
  const measured = await bench("--api-key", "first", "--max-concurrency", "2", "--save-result", saved);
  expect(measured.code, measured.stderr).toBe(0);
  expect(measured.stdout).toMatch(/Serving Benchmark Result/);
  expect(measured.stdout).toMatch(/Successful requests: +3\b/);
  expect(JSON.parse(readFileSync(saved, "utf8"))).toMatchObject({
    ...{ model_id: "tiny", completed: 3, failed: 0, total_output_tokens: 12, total_input_tokens: 36 },
  });
  const body = { prompt: "Once upon a time", max_tokens: 60, stream: true, ignore_eos: true };
  const reply = await api.post("/v1/completions", body, { headers });
  child.kill("SIGTERM");
  const events = dataOf(await reply.text());
  expect(events.at(-1)).toBe("[DONE]");
  expect(events.at(-2)).toContain('"finish_reason":"length"');
  expect(await ended(child)).toBe(0);
  expect(readFileSync(told, "utf8").split("\n")).toEqual(["READY=1", "STOPPING=1", ""]);
});

it("speaks HTTPS, and reads its certificate anew on SIGHUP", async () => {
  const [key, cert] = [join(folder, "server.key"), join(folder, "server.crt")];
  const certify = (name: string) => {
    const args = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=${name} -keyout ${key} -out ${cert}`;
    execFileSync("openssl", args.split(" "), { stdio: "ignore" });
  };
  certify("first");
  const args = [fixtureFolder("qwen3-next-tiny"), "--max-model-len", "128", "--max-num-seqs", "1"];
  const { child, match, said } = await start(
    [...args, "--ssl-certfile", cert, "--ssl-keyfile", key],
    /Sluice serves \S+ on (https:\S+)\/v1/,
  );
  const nameOf = async () => {
    const request = get(`${match[1]}/health`, {
      rejectUnauthorized: false,
      agent: false,
    });
    const [reply] = (await once(request, "response")) as [IncomingMessage];
    reply.resume();
    expect(reply.statusCode).toBe(200);
    return (reply.socket as TLSSocket).getPeerCertificate().subject.CN;
  };
  expect(await nameOf()).toBe("first");
  certify("second");
  child.kill("SIGHUP");
  await expect.poll(nameOf).toBe("second");
  // One that cannot be read is told, and the last goes on.
  rmSync(cert);
  child.kill("SIGHUP");
  await expect.poll(said).toContain("cannot be read");
  expect(await nameOf()).toBe("second");
  child.kill("SIGTERM");
  expect(await ended(child)).toBe(0);
});

it("plans memory and loads nothing with --dry-run", async () => {
  const args = ["serve", "--dry-run", "--max-model-len", "2k", "--max-num-seqs", "4", ...onTestAdapter];
  const { code, stdout } = await sluice(args);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^Memory on .*, which has .* GB$/m);
  for (const part of ["weights", "KV cache", "recurrent state", "snapshots of it", "scratch", "total"])
    expect(stdout).toMatch(new RegExp(`^ *${part} +[\\d.]+ [kMG]B`, "m"));
  expect(stdout).toMatch(/^ *2048 +4$/m);
  const share = await sluice([...args, "--gpu-memory-utilization", "0.5"]);
  const cached = (text: string) => Number(/KV cache.* (\d+) tokens/.exec(text)![1]);
  expect(cached(share.stdout)).toBeGreaterThan(cached(stdout));
  const none = await sluice([...args, "--gpu-memory-utilization", "0.000001"]);
  expect([none.code, none.stderr]).toEqual([1, expect.stringMatching(/gpu-memory-utilization.*is less than/)]);
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

it.each([
  ["S1 as for vLLM", "serve", "MODEL --tensor-parallel-size 4 --max-model-len 256"],
  [
    "S5 as for SGLang",
    "launch_server",
    "--model-path MODEL --tp-size 4 --context-length 256 --speculative-algo NEXTN --speculative-num-steps 3 " +
      "--speculative-eagle-topk 1 --speculative-num-draft-tokens 4",
  ],
])("serves from a command line %s", async (_, command, line) => {
  const model = fixtureFolder("qwen3-next-tiny");
  const args = [...line.replace("MODEL", model).split(" "), "--reference", "--max-num-seqs", "1"];
  const { child, match, said } = await start(args, /Sluice serves \S+ on (http:\S+)\/v1/, {}, command);
  expect(said()).toContain("Split: 4 whole models, a process each.");
  if (command !== "serve") expect(said()).toContain("Speculative decoding is not built yet");
  const api = client(match[1]);
  expect(await (await api.get("/v1/models")).json()).toMatchObject({ data: [{ max_model_len: 256 }] });
  const body = { prompt: [5, 17, 300], max_tokens: 3, temperature: 0, ignore_eos: true, return_token_ids: true };
  expect(await api.json("/v1/completions", body)).toMatchObject({ usage: { completion_tokens: 3 } });
  child.kill("SIGTERM");
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
