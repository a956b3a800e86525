import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttpServer, get, type IncomingMessage } from "node:http";
import { get as getSecure } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { Log, logRequest } from "../../src/server/log.ts";
import { reportThroughput } from "../../src/server/report-throughput.ts";
import type { RequestRecord } from "../../src/server/request-record.ts";
import { startTracing } from "../../src/server/tracing.ts";
import { createServer, type LLMServer, type ServerOptions } from "../../src/server.ts";
import { gate } from "../support/gate.ts";
import { client, dataOf } from "../support/http.ts";
import { finish, ScriptedLLM, say, untilAborted } from "../support/scripted-llm.ts";

const folder = mkdtempSync(join(tmpdir(), "sluice-ops-"));
afterAll(() => rmSync(folder, { recursive: true }));
const chat = "/v1/chat/completions";
const body = { messages: [{ role: "user", content: "a secret" }] };
const servers: LLMServer[] = [];

async function serve(llm = new ScriptedLLM(), options: ServerOptions = {}) {
  const server = createServer(llm, { rehearse: false, ...options });
  servers.push(server);
  await server.ready();
  return { server, api: client(await server.listen({ port: 0 })) };
}

afterEach(async () => {
  vi.unstubAllEnvs();
  await Promise.all(servers.splice(0).map((server) => server.close({ timeoutMs: 0 })));
});

it("loses no accepted request when it is closed under load, and says meanwhile that it drains", async () => {
  let begun = 0;
  const release = gate();
  const slow = async function* () {
    begun++;
    await release.promise;
    yield* say("all ", "of ", "it");
  };
  const { server, api } = await serve(new ScriptedLLM(slow));
  const replies = Array.from({ length: 40 }, async (_, i) => {
    await sleep(i * 4);
    const reply = await api.post(chat, { ...body, stream: i % 2 === 0 });
    return { status: reply.status, text: await reply.text() };
  });
  const all = Promise.allSettled(replies);
  await expect.poll(() => begun, { interval: 1 }).toBeGreaterThan(9);
  const closed = server.close({ timeoutMs: 60_000 });
  const health = await api.get("/health");
  expect([health.status, health.headers.get("retry-after")]).toEqual([503, "5"]);
  release.open();
  const answers = await all;
  await closed;
  let whole = 0;
  for (const answer of answers) {
    // A connection that came too late is no accepted request.
    if (answer.status === "rejected") continue;
    const { status, text } = answer.value;
    expect([200, 503]).toContain(status);
    if (status === 503) continue;
    whole++;
    expect(text).toMatch(/it"/);
    if (text.startsWith("data:")) expect(dataOf(text).at(-1)).toBe("[DONE]");
  }
  expect(whole).toBeGreaterThanOrEqual(begun);
});

describe("pages", () => {
  const ask = async (options: ServerOptions, origin: string, headers = {}) => {
    const { api } = await serve(new ScriptedLLM(), options);
    const reply = await api.post(chat, body, { headers: { Origin: origin, ...headers } });
    return [reply.status, reply.headers.get("access-control-allow-origin")];
  };

  it.each(["http://localhost:3000", "https://localhost", "http://127.0.0.1:8080", "http://[::1]:5173"])(
    "of this machine may ask: %s",
    async (origin) => expect(await ask({}, origin)).toEqual([200, origin]),
  );

  it.each(["https://evil.example", "http://localhost.evil.example", "http://127.0.0.1.evil.example", "null"])(
    "of others may not: %s",
    async (origin) => expect(await ask({}, origin)).toEqual([403, null]),
  );

  it("may where they are listed, or all are", async () => {
    expect(await ask({ allowedOrigins: ["https://a.example"] }, "https://a.example")).toEqual([
      200,
      "https://a.example",
    ]);
    expect(await ask({ allowedOrigins: ["*"] }, "https://b.example")).toEqual([200, "*"]);
  });

  it("with a key are answered, but a browser keeps the answer from them", async () => {
    const headers = { Authorization: "Bearer one" };
    expect(await ask({ apiKeys: ["one"] }, "https://a.example", headers)).toEqual([200, null]);
  });
});

describe("listening", () => {
  const statusOf = async (request: ReturnType<typeof get>) => {
    const [reply] = (await once(request, "response")) as [IncomingMessage];
    reply.resume();
    return reply.statusCode;
  };

  it("on a Unix socket, also where a dead one is in the way", async () => {
    const socket = join(folder, "sluice.sock");
    const dead = `require("net").createServer().listen(${JSON.stringify(socket)}, () => process.kill(process.pid, "SIGKILL"))`;
    try {
      execFileSync(process.execPath, ["-e", dead], { stdio: "ignore" });
    } catch {}
    expect(existsSync(socket)).toBe(true);
    const server = createServer(new ScriptedLLM(), { rehearse: false });
    servers.push(server);
    await server.ready();
    expect(await server.listen({ socket })).toBe(`unix:${socket}`);
    expect(await statusOf(get({ socketPath: socket, path: "/health" }))).toBe(200);
    await expect(createServer(new ScriptedLLM(), { rehearse: false }).listen({ socket })).rejects.toThrow("EADDRINUSE");
  });

  it("speaks HTTPS, with another certificate when that is renewed", async () => {
    const pair = (name: string) => {
      const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
      const args = `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=${name} -keyout ${key} -out ${cert}`;
      execFileSync("openssl", args.split(" "), { stdio: "ignore" });
      return { key: readFileSync(key), cert: readFileSync(cert) };
    };
    const server = createServer(new ScriptedLLM(), { rehearse: false });
    servers.push(server);
    await server.ready();
    const url = await server.listen({ port: 0, tls: pair("first") });
    expect(url).toMatch(/^https:/);
    const nameOf = async () => {
      const request = getSecure(`${url}/health`, { rejectUnauthorized: false, agent: false });
      const [reply] = (await once(request, "response")) as [IncomingMessage];
      reply.resume();
      return (reply.socket as import("node:tls").TLSSocket).getPeerCertificate().subject.CN;
    };
    expect(await nameOf()).toBe("first");
    server.renewCertificate(pair("second"));
    expect(await nameOf()).toBe("second");
  });
});

describe("the record of a request", () => {
  async function recorded(llm: ScriptedLLM, path: string, request: object, options: ServerOptions = {}) {
    const records: RequestRecord[] = [];
    const { api } = await serve(llm, { ...options, onRequest: (record) => records.push(record) });
    await (await api.post(path, request, { headers: { "X-Request-Id": "mine" } })).text();
    await expect.poll(() => records).toHaveLength(1);
    return records[0];
  }

  it("counts what was read and written", async () => {
    const record = await recorded(new ScriptedLLM(), chat, { ...body, stream: true, n: 2 });
    expect(record).toMatchObject({ id: "mine", method: "POST", path: chat, status: 200 });
    expect(record.replies).toMatchObject({
      promptTokens: 10,
      cachedTokens: 4,
      completionTokens: 2,
      finish: ["stop", "stop"],
    });
    expect(record.replies!.firstTokenMs).toBeLessThanOrEqual(record.totalMs);
    expect(JSON.stringify(record)).not.toContain("secret");
  });

  it("has no replies where there were none", async () => {
    expect(await recorded(new ScriptedLLM(), chat, { messages: 1 })).toMatchObject({ status: 400, replies: undefined });
    expect(await recorded(new ScriptedLLM(), chat, body, { maxRequests: 0 })).toMatchObject({
      status: 503,
      replies: undefined,
    });
  });

  it("tells of who has left", async () => {
    const records: RequestRecord[] = [];
    const { api } = await serve(new ScriptedLLM(untilAborted), { onRequest: (record) => records.push(record) });
    const abort = new AbortController();
    const reply = await api.post(chat, { ...body, stream: true }, { signal: abort.signal });
    abort.abort();
    await reply.text().catch(() => {});
    await expect.poll(() => records[0]?.replies).toMatchObject({ finish: ["abort"] });
  });

  it("is a line that holds prompts only where they are asked for", async () => {
    for (const recordBody of [0, 40]) {
      const lines: string[] = [];
      const log = new Log({ format: "json", write: (line) => lines.push(line) });
      logRequest(log, await recorded(new ScriptedLLM(), chat, body, { recordBody }));
      expect(JSON.parse(lines[0])).toMatchObject({
        level: "info",
        requestId: "mine",
        finish: ["stop"],
        completionTokens: 1,
      });
      expect(lines[0].includes("user")).toBe(recordBody > 0);
    }
  });
});

it("reports throughput while something is going on, and is silent else", async () => {
  vi.useFakeTimers();
  const lines: string[] = [];
  const llm = new ScriptedLLM();
  const stats = await llm.stats();
  let reply = 0;
  const stop = reportThroughput(
    { stats: async () => ({ ...stats, tokens: { prompt: 0, reply } }) },
    new Log({ write: (line) => lines.push(line) }),
    10,
  );
  await vi.advanceTimersByTimeAsync(50);
  expect(lines).toEqual([]);
  reply = 100;
  await vi.advanceTimersByTimeAsync(50);
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(
    /Avg generation throughput: 10000.0 tokens\/s, Running: 0 reqs, .*KV cache usage: 25.0%.*hit rate: 25.0%/,
  );
  stop();
  vi.useRealTimers();
});

it("sends a span of a request to a collector, under the trace of its client", async () => {
  const bodies: Buffer[] = [];
  const collector = createHttpServer((request, reply) => {
    request.on("data", (bytes) => bodies.push(bytes)).on("end", () => reply.end("{}"));
  }).listen(0, "127.0.0.1");
  await once(collector, "listening");
  vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", `http://127.0.0.1:${(collector.address() as { port: number }).port}`);
  const tracing = await startTracing();
  const traced = gate();
  const onRequest = (record: RequestRecord) => {
    tracing.trace(record);
    traced.open();
  };
  const { api } = await serve(new ScriptedLLM(), { onRequest });
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  await (await api.post(chat, body, { headers: { traceparent } })).text();
  await traced.promise;
  await tracing.close();
  collector.close();
  const sent = Buffer.concat(bodies).toString();
  expect(sent).toContain("llm_request");
  expect(sent).toContain("0af7651916cd43dd8448eb211c80319c");
  expect(sent).toContain("gen_ai.usage.output_tokens");
});

it("counts in its metrics what guards have done", async () => {
  const looped = async function* () {
    yield { kind: "prefill", done: 0, total: 5 } as const;
    yield finish("", { thoughtsEndedBy: "loop" });
  };
  const { api } = await serve(new ScriptedLLM(looped));
  await api.json(chat, body);
  const metrics = await (await api.get("/metrics")).text();
  expect(metrics).toMatch(/vllm:reasoning_ended_total\{.*reason="loop"\} 1/);
  expect(metrics).toMatch(/vllm:corrupted_requests_total\{.*\} 2/);
});

it("counts in its metrics the states that left the device, where there is room for them", async () => {
  const llm = new ScriptedLLM();
  const { api } = await serve(llm);
  const metrics = async () => (await api.get("/metrics")).text();
  expect(await metrics()).not.toMatch(/^vllm:cpu_cache_usage_perc\{/m);
  const stats = await llm.stats();
  llm.stats = async () => ({ ...stats, host: { bytes: 250, maxBytes: 1000, copies: 3, restoredTokens: 70 } });
  for (let i = 0; i < 2; i++) {
    const text = await metrics();
    expect(text).toMatch(/^vllm:cpu_cache_usage_perc\{.*\} 0.25$/m);
    expect(text).toMatch(/^vllm:cpu_cache_bytes\{.*\} 250$/m);
    expect(text).toMatch(/^vllm:cpu_cache_states\{.*\} 3$/m);
    expect(text).toMatch(/^vllm:external_prefix_cache_hits_total\{.*\} 70$/m);
  }
});
