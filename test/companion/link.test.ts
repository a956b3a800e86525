import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { ModelHost } from "../../src/api/model-host.ts";
import { unpackError } from "../../src/api/port.ts";
import { FailoverEngine } from "../../src/companion/failover-engine.ts";
import { decodeFrame, encodeFrame } from "../../src/companion/frames.ts";
import { Link, type LinkOptions } from "../../src/companion/link.ts";
import { RemoteEngine } from "../../src/companion/remote-engine.ts";
import type { EngineEvent, EngineRequest } from "../../src/engine/engine.ts";
import { GREEDY } from "../../src/engine/runner.ts";
import { CompanionError } from "../../src/errors.ts";
import type { LayerHost } from "../../src/runner/layer-host.ts";
import { createServer, type LLMServer } from "../../src/server.ts";
import { random } from "../support/random.ts";
import { ScriptedLLM } from "../support/scripted-llm.ts";
import { shapingProxy } from "../support/shaping-proxy.ts";

const SHAPE = { layers: 2, experts: 8, topK: 2, hidden: 4 };
const SAMPLING = { ...GREEDY, maxTokens: 40 };

/** Each token follows from all before it. */
async function* generate({ prompt, reply = [], sampling, signal }: EngineRequest): AsyncGenerator<EngineEvent> {
  const tokens = [...prompt, ...reply];
  yield { kind: "prefill", done: prompt.length, total: prompt.length, cached: 0 };
  for (let count = reply.length + 1; count <= sampling.maxTokens && !signal?.aborted; count++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const token = tokens.reduce((hash, id) => (hash * 31 + id + 7) % 997, 1);
    tokens.push(token);
    const isLast = count === sampling.maxTokens;
    yield { kind: "token", sampled: { token, isLast, isFinite: true, slot: 0, position: tokens.length } };
  }
}

const LIMITS = {
  maxContext: 64,
  maxBatchTokens: 4,
  maxSequences: 2,
  maxPrefillSequences: 2,
  slots: 3,
  blockTokens: 64,
  blocks: 3,
  vocabularySize: 96,
};

/** They leave rows as they are. */
const LAYERS: LayerHost = {
  count: 2,
  hidden: 4,
  maxBatchTokens: 4,
  bytes: () => 2 ** 20,
  open: async () => ({
    limits: LIMITS,
    pass: async ({ hidden }) => hidden!,
    copyState() {},
    copyBlock() {},
    dispose() {},
  }),
};

class HostingLLM extends ScriptedLLM {
  /** What has to come before its model is there. */
  coming: Promise<unknown> = Promise.resolve();

  async host(): Promise<ModelHost> {
    await this.coming;
    const engine = { generate, stats: () => this.stats(), clearCache() {}, dispose() {}, isLost: false };
    const experts = { shape: SHAPE, sum: async (_: number, { x }: { x: Float32Array<ArrayBuffer> }) => x };
    return { engine, experts, layers: LAYERS, fingerprint: "scripted", info: this.info };
  }
}

const refused: string[] = [];
let server: LLMServer;
let url: string;

const hosting = new HostingLLM();

beforeAll(async () => {
  server = createServer(hosting, {
    apiKeys: ["secret"],
    maxRequestsPerClient: 8,
    rehearse: false,
    onRefusedLink: (line) => refused.push(line),
    onError: (error) => refused.push(`FAULT ${(error as Error).stack}`),
  });
  url = await server.listen({ port: 0 });
  await server.ready();
});

afterAll(() => server.close({ timeoutMs: 100 }));

/** Patient, where a test does not say otherwise. */
const open = (more: Partial<LinkOptions> = {}) =>
  Link.open({
    ...{ url, key: "secret", openSocket: (address) => new WebSocket(address), unpackError, patienceMs: 60_000 },
    ...more,
  });

async function tokensOf(
  engine: Pick<RemoteEngine, "generate">,
  prompt: readonly number[],
  more: Partial<EngineRequest> = {},
  onToken: () => void = () => {},
) {
  const tokens: number[] = [];
  for await (const event of engine.generate({ prompt, sampling: SAMPLING, ...more })) {
    if (event.kind !== "token") continue;
    tokens.push(event.sampled.token);
    onToken();
  }
  return tokens;
}

async function expected(prompt: readonly number[]): Promise<number[]> {
  const tokens: number[] = [];
  for await (const event of generate({ prompt, sampling: SAMPLING })) {
    if (event.kind === "token") tokens.push(event.sampled.token);
  }
  return tokens;
}

describe("a link", () => {
  it("carries many requests at once, in both ways", async () => {
    const link = await open();
    const engine = new RemoteEngine(link);
    const prompts = Array.from({ length: 6 }, (_, i) => [i, 2 * i]);
    const replies = await Promise.all(prompts.map((prompt) => tokensOf(engine, prompt)));
    expect(replies).toEqual(await Promise.all(prompts.map(expected)));
    const large = new Uint8Array(2 ** 20).map((_, i) => i);
    const { payload } = await link.call({ kind: "ping" }, [large]);
    expect(Buffer.compare(payload, large)).toBe(0);
    link.close();
    await expect(link.ready()).rejects.toThrow("disposed");
  });

  it("ends a request that is aborted", async () => {
    const link = await open();
    const abort = new AbortController();
    const tokens: number[] = [];
    const request = { prompt: [1], sampling: { ...SAMPLING, maxTokens: 10_000 }, signal: abort.signal };
    for await (const event of new RemoteEngine(link).generate(request)) {
      if (event.kind === "token" && tokens.push(event.sampled.token) === 5) abort.abort();
    }
    expect(tokens.length).toBeLessThan(1000);
    link.close();
  });

  it("goes on after breaks without losing or repeating a token", async () => {
    const proxy = await shapingProxy(url);
    const link = await open({ url: proxy.url });
    const engine = new RemoteEngine(link);
    const next = random(5);
    for (let i = 0; i < 20; i++) {
      let left = Math.floor(next() * (SAMPLING.maxTokens - 1));
      const reply = tokensOf(engine, [i], {}, () => left-- === 0 && proxy.kill());
      expect(await reply).toEqual(await expected([i]));
    }
    expect(link.counts.reconnects).toBeGreaterThan(5);
    link.close();
    await proxy.close();
  });

  it("tells once that a companion is gone for good, or hands over", async () => {
    const proxy = await shapingProxy(url);
    const link = await open({ url: proxy.url, patienceMs: 2000 });
    const heir = { generate, stats: () => new HostingLLM().stats(), clearCache() {}, dispose() {}, isLost: false };
    const bereft = new RemoteEngine(link);
    const helped = new FailoverEngine(new RemoteEngine(link), async () => heir);
    expect((await helped.stats()).companion?.state).toBe("connected");
    let begun = 0;
    const close = () => ++begun === 9 && proxy.close();
    const replies = [tokensOf(bereft, [3], {}, close), tokensOf(helped, [3], {}, close)];
    await expect(replies[0]).rejects.toMatchObject({ name: "CompanionError", reason: "lost" });
    expect(await replies[1]).toEqual(await expected([3]));
    expect((await bereft.stats()).companion?.state).toBe("lost");
    expect((await helped.stats()).companion?.state).toBe("replaced");
    link.close();
  });

  it("waits for a companion that is started anew, and loads its model", async () => {
    const first = createServer(new HostingLLM(), { rehearse: false });
    const address = await first.listen({ port: 0 });
    await first.ready();
    const link = await open({ url: address });
    await first.close({ timeoutMs: 0 });
    const loading = new Promise<HostingLLM>((resolve) => setTimeout(() => resolve(new HostingLLM()), 300));
    const second = createServer(loading, { rehearse: false });
    await second.listen({ port: Number(new URL(address).port) });
    expect(await tokensOf(new RemoteEngine(link), [4])).toEqual(await expected([4]));
    link.close();
    await second.close({ timeoutMs: 0 });
  });

  it("is made again while nobody uses it", async () => {
    const proxy = await shapingProxy(url);
    const link = await open({ url: proxy.url });
    const hasty = await open({ url: proxy.url, patienceMs: 2000 });
    proxy.kill();
    await expect.poll(() => [link.counts.reconnects, link.state]).toEqual([1, "connected"]);
    await proxy.close();
    await expect.poll(() => link.state).toBe("reconnecting");
    expect((await new RemoteEngine(link).stats()).companion?.state).toBe("reconnecting");
    await expect.poll(() => hasty.state).toBe("lost");
    link.close();
    hasty.close();
  });

  it("notices silence", async () => {
    const proxy = await shapingProxy(url);
    const link = await open({ url: proxy.url, silenceMs: 200 });
    proxy.mute();
    await link.call({ kind: "ping" });
    expect(link.counts.reconnects).toBe(1);
    link.close();
    await proxy.close();
  });

  it("takes no standstill of its own for silence", async () => {
    const link = await open({ silenceMs: 40 });
    for (let i = 0; i < 3; i++) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
      await link.call({ kind: "ping" });
    }
    expect(link.counts.reconnects).toBe(0);
    link.close();
  });

  it("lives on while the model is long in coming", async () => {
    const link = await open({ silenceMs: 200 });
    hosting.coming = new Promise((resolve) => setTimeout(resolve, 600));
    await link.call({ kind: "stats" });
    expect(link.counts.reconnects).toBe(0);
    link.close();
  });

  it.each([
    ["refused", { key: "wrong" }],
    ["refused", { key: undefined }],
    ["refused", { openSocket: (to: string) => new WebSocket(to, { origin: "https://elsewhere.example" }) }],
    ["unreachable", { url: "http://127.0.0.1:1", patienceMs: 200 }],
  ] as const)("is %s with %o", async (reason, more) => {
    const error = await open(more).catch((error) => error);
    expect(error).toBeInstanceOf(CompanionError);
    expect(error.reason).toBe(reason);
  });

  it("keeps to the limit of a key", async () => {
    const link = await open();
    const engine = new RemoteEngine(link);
    const results = await Promise.allSettled(Array.from({ length: 12 }, (_, i) => tokensOf(engine, [i])));
    const failures = results.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
    expect(failures).toHaveLength(4);
    for (const { reason } of failures) expect(reason).toMatchObject({ name: "CompanionError", reason: "busy" });
    link.close();
  });
});

describe("what should not be said", () => {
  const hello = encodeFrame({ kind: "hello", version: 1, key: "secret" });
  const STATE = "such as a page's own";
  const SIZES = { maxContext: 64, maxBatchTokens: 4, maxSequences: 2, snapshots: 1, cacheTokens: 64 };
  const STEP = {
    work: "decode",
    copies: [],
    sequences: [{ slot: 0, position: 0, rows: 1, keep: 1, same: 0, blocks: [0] }],
  };
  const sum = encodeFrame({ kind: "sum", id: 1, layer: 0, rows: 1 }, new Uint32Array(8));

  /** Says frames, and gives the reasons of the errors that came until the server closed the connection. */
  function say(frames: readonly (Uint8Array | string)[]): Promise<string[]> {
    return new Promise((resolve) => {
      const socket = new WebSocket(`${url.replace("http", "ws")}/v1/companion`);
      socket.binaryType = "arraybuffer";
      const reasons: string[] = [];
      socket.on("open", () => {
        for (const frame of frames) socket.send(frame);
        socket.send(encodeFrame({ kind: "ping", id: 999 }));
      });
      socket.on("message", (data) => {
        const { header } = decodeFrame(data as ArrayBuffer);
        if (header.kind === "error" && header.id === undefined) {
          reasons.push((header.error as { facts: { reason: string } }).facts.reason);
        }
      });
      socket.on("close", () => resolve(reasons));
      socket.on("error", () => {});
    });
  }

  it.each([
    ["malformed", ["text"]],
    ["malformed", [new Uint8Array([1, 2, 3])]],
    ["malformed", [sum]],
    ["version", [encodeFrame({ kind: "hello", version: 99, key: "secret" })]],
    ["refused", [encodeFrame({ kind: "hello", version: 1, key: "x" })]],
  ])("ends the connection with one error: %s", async (reason, frames) => {
    const before = refused.length;
    expect(await say(frames)).toEqual([reason]);
    expect(refused.length).toBe(before + 1);
  });

  it("ends a connection whose frame is too large", async () => {
    const link = await open();
    await expect(link.request({ kind: "ping" }, [new Uint8Array(17 * 2 ** 20)]).next()).rejects.toThrow();
    link.close();
  });

  it("leaves the server unharmed: ten thousand frames", async () => {
    const next = random(11);
    const whole = [
      sum,
      encodeFrame({ kind: "ping", id: 3 }, new Uint32Array(4)),
      encodeFrame({ kind: "stats", id: 4 }),
      encodeFrame({ kind: "open", id: 6, state: STATE, from: 0, to: 2, ...SIZES }),
      encodeFrame({ kind: "step", id: 7, state: STATE, turn: 0, answered: 0, ...STEP }, new Float32Array(4)),
      encodeFrame({ kind: "step", id: 8, state: STATE, turn: 1, answered: 1, ...STEP }, new Float32Array(4)),
      encodeFrame({ kind: "generate", id: 5, promptTokens: 2, replyTokens: 0, maskWords: 0 }, new Uint32Array(2)),
    ];
    let said = 0;
    let errors = 0;
    const attack = async () => {
      while (said < 10_000) {
        const frames = Array.from({ length: 50 }, () => {
          const frame = whole[Math.floor(next() * whole.length)].slice();
          for (let flips = Math.floor(next() * 3); flips >= 0; flips--) {
            frame[Math.floor(next() * frame.length)] = Math.floor(next() * 256);
          }
          return next() < 0.2 ? frame.subarray(0, Math.floor(next() * frame.length)) : frame;
        });
        said += frames.length;
        const socket = new WebSocket(`${url.replace("http", "ws")}/v1/companion`);
        await new Promise<void>((resolve) => {
          socket.on("open", () => {
            // Only after the welcome are frames looked at.
            socket.send(hello);
            socket.once("message", () => {
              socket.on("message", (data: Buffer) => {
                if (data.includes('"kind":"error"')) errors++;
              });
              for (const frame of frames) socket.send(frame);
            });
          });
          socket.on("error", () => {});
          socket.on("close", () => resolve());
        });
      }
    };
    await Promise.all(Array.from({ length: 8 }, attack));
    expect(errors).toBeGreaterThan(100);
    expect(refused.filter((line) => line.startsWith("FAULT"))).toEqual([]);
    const link = await open();
    expect(await tokensOf(new RemoteEngine(link), [1, 2])).toEqual(await expected([1, 2]));
    link.close();
  });
});
