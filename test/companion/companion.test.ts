import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type {
  CompanionMode,
  CompanionOptions,
  GenerateParams,
  GenerationEvent,
  LoadOptions,
  LoadProgress,
} from "../../src/api/types.ts";
import { decodeFrame, words } from "../../src/companion/frames.ts";
import { CompanionError } from "../../src/errors.ts";
import { probeCompanion } from "../../src/node.ts";
import { createServer, type LLMServer } from "../../src/server.ts";
import { gate } from "../support/gate.ts";
import { ObservedPlatform } from "../support/observed-platform.ts";
import { random } from "../support/random.ts";
import { shapingProxy } from "../support/shaping-proxy.ts";

const SPROUT = "demo/public/models/sprout";
/** In f32 kernels of both sides round alike. */
const OPTIONS: LoadOptions = { maxContext: 256, device: { dtype: "f32" } };
const MESSAGES = [{ role: "user", content: "Write a story about a fox." }] as const;
const GREEDY: GenerateParams = { temperature: 0, maxTokens: 12 };
const SEEDED: GenerateParams = { temperature: 1, seed: 7, maxTokens: 12 };

const platform = new ObservedPlatform();
let host: LocalLLM;
let server: LLMServer;
let url: string;

beforeAll(async () => {
  host = await LocalLLM.load(platform, SPROUT, { ...OPTIONS, maxSequences: 4, cacheTokens: 1024 });
  server = createServer(host, { apiKeys: ["secret"], onRefusedLink: () => {} });
  url = await server.listen({ port: 0 });
  await server.ready();
}, 300_000);

afterAll(async () => {
  await server?.close({ timeoutMs: 100 });
  await host?.dispose();
});

const lean = (mode: CompanionMode, more: LoadOptions = {}, how: Partial<CompanionOptions> = {}) =>
  LocalLLM.load(platform, SPROUT, { ...OPTIONS, companion: { url, key: "secret", mode, ...how }, ...more });

async function eventsOf(llm: LocalLLM, params: GenerateParams): Promise<GenerationEvent[]> {
  const events: GenerationEvent[] = [];
  for await (const event of llm.chat(MESSAGES, params)) {
    if (event.kind !== "prefill") events.push(event.kind === "finish" ? { ...event, usage: {} as never } : event);
  }
  return events;
}

describe("whole requests", () => {
  it("give the events of the model itself", async () => {
    const llm = await lean("requests");
    expect(llm.info.companion).toMatchObject({ url, mode: "requests" });
    for (const params of [
      GREEDY,
      SEEDED,
      { ...GREEDY, logprobs: 2 },
      { ...GREEDY, format: { kind: "json" } as const },
    ]) {
      expect(await eventsOf(llm, params)).toEqual(await eventsOf(host, params));
    }
    const ids = await llm.tokenize("The sun is a star.");
    expect(await llm.score(ids)).toEqual(await host.score(ids));
    expect((await llm.stats()).tokens.reply).toBeGreaterThan(0);
    await llm.dispose();
  });
});

describe("experts", () => {
  it.each([undefined, "25%", "50%"])("give its tokens with %s of them here", async (memory) => {
    const llm = await lean("experts", { memory });
    for (const params of [GREEDY, SEEDED]) expect(await eventsOf(llm, params)).toEqual(await eventsOf(host, params));
    const { companion } = await llm.stats();
    expect(companion!.sums.count).toBeGreaterThan(8 * 11);
    expect(companion!.state).toBe("connected");
    await llm.dispose();
  });
});

describe("layers", () => {
  it.each([
    [undefined, 1],
    ["25%", 2],
    ["50%", 4],
    ["100%", 7],
  ])("give its tokens with %s of them here", async (memory, here) => {
    const llm = await lean("layers", { memory });
    expect(llm.info.companion!.layers).toEqual({ here, there: 8 - here });
    for (const params of [
      GREEDY,
      SEEDED,
      { ...SEEDED, repetitionPenalty: 1.2, logprobs: 2 },
      { ...GREEDY, format: { kind: "json" } as const },
    ]) {
      expect(await eventsOf(llm, params)).toEqual(await eventsOf(host, params));
    }
    const { companion } = await llm.stats();
    expect(companion!.passes!.count).toBeGreaterThan(3 * 11);
    await llm.dispose();
  });
});

describe("layers some of whose experts are here", () => {
  it.each([
    ["25%", 3],
    [33e6, 6],
  ])("give its tokens with %s for %i of them", async (memory, layers) => {
    const llm = await lean("layers", { memory, maxSequences: 2, cacheTokens: 512 }, { layers });
    expect(llm.info.companion!.layers).toEqual({ here: layers, there: 8 - layers });
    if (typeof memory === "number") expect(llm.info.memory.total).toBeLessThanOrEqual(memory);
    for (const params of [GREEDY, SEEDED]) expect(await eventsOf(llm, params)).toEqual(await eventsOf(host, params));
    const replies = await Promise.all([eventsOf(llm, GREEDY), eventsOf(llm, SEEDED)]);
    expect(replies).toEqual([await eventsOf(host, GREEDY), await eventsOf(host, SEEDED)]);
    const { paging } = await llm.stats();
    expect(paging!.layers).toHaveLength(layers);
    expect(paging!.slots).toBeLessThan(24);
    for (const { misses } of paging!.layers) expect(misses).toBeGreaterThan(4);
    await llm.dispose();
    expect(platform.openSources).toBe(0);
  });

  it("have to be some, and not all", async () => {
    await expect(lean("layers", {}, { layers: 8 })).rejects.toThrow("of 8 layers, 7 can run here at most");
    await expect(lean("requests", {}, { layers: 2 })).rejects.toThrow("companion.layers");
  });
});

it.each([
  ["experts", "sum", ["id", "kind", "layer", "rows"]],
  ["layers", "step", ["answered", "copies", "id", "kind", "sequences", "state", "turn", "work"]],
] as const)("sends no token of prompt or reply where only %s are elsewhere", async (mode, kind, fields) => {
  const sent: ArrayBuffer[] = [];
  const spying = new ObservedPlatform();
  const sockets = async () => {
    const open = await platform.sockets();
    return (address: string) => {
      const socket = open(address);
      const send = socket.send.bind(socket);
      socket.send = (data) => {
        sent.push(data.slice().buffer);
        send(data);
      };
      return socket;
    };
  };
  Object.defineProperty(spying, "sockets", { value: sockets });
  const options = { ...OPTIONS, companion: { url, key: "secret", mode } } as const;
  const llm = await LocalLLM.load(spying, SPROUT, options);
  const ids = await llm.tokenize("A fox met a crow in the old forest by the lake.");
  await llm.generate(ids, GREEDY).finish();
  const frames = sent.map(decodeFrame);
  const known = ["hello", "open", "ping", kind];
  expect(frames.filter(({ header }) => !known.includes(header.kind as string))).toEqual([]);
  const asked = frames.filter(({ header }) => header.kind === kind);
  expect(asked.length).toBeGreaterThan(11);
  for (const { header } of asked) expect(Object.keys(header).sort()).toEqual(fields);
  for (const { sequences = [] } of asked.map(({ header }) => header as { sequences?: object[] })) {
    for (const one of sequences) {
      expect(Object.keys(one)).toEqual(["slot", "position", "rows", "keep", "same", "blocks"]);
    }
  }
  const hasPrompt = asked.some(({ payload }) => {
    const numbers = words(payload);
    return numbers.some((_, at) => ids.slice(0, 3).every((id, i) => numbers[at + i] === id));
  });
  expect(hasPrompt).toBe(false);
  await llm.dispose();
});

describe("a link that breaks", () => {
  /** SLUICE_KILLS=200 takes minutes. */
  const KILLS = Number(process.env.SLUICE_KILLS ?? 30);

  it.each(["requests", "experts", "layers"] as const)("costs no token of %s", async (mode) => {
    const proxy = await shapingProxy(url);
    const llm = await lean(
      mode,
      { memory: mode === "experts" ? "25%" : undefined },
      { url: proxy.url, patienceMs: 60_000 },
    );
    const params = { ...SEEDED, maxTokens: 6 };
    const expected = await eventsOf(host, params);
    const next = random(3);
    await eventsOf(llm, params);
    const startMs = performance.now();
    await eventsOf(llm, params);
    // The moments hang on the machine; what is expected does not.
    const usualMs = performance.now() - startMs;
    for (let i = 0; i < KILLS / 3; i++) {
      const timer = setTimeout(() => proxy.kill(), next() * usualMs);
      expect(await eventsOf(llm, params)).toEqual(expected);
      clearTimeout(timer);
    }
    await llm.dispose();
    await proxy.close();
  });

  it("costs no token of several replies at once, nor does a companion that has forgotten their states", async () => {
    const BREAKS = Math.ceil(KILLS / 6);
    const start = () => createServer(host, { apiKeys: ["secret"], onRefusedLink: () => {}, rehearse: false });
    let there = start();
    const proxy = await shapingProxy(await there.listen({ port: 0 }));
    const how = { url: proxy.url, patienceMs: 60_000 };
    const llm = await lean("layers", { maxSequences: 3, cacheTokens: 1024 }, how);
    const prompts = ["Once upon a time there was a fox", "The moon", "Why do birds sing in the morning?"];
    const replies = (of: LocalLLM, onToken = () => {}) =>
      Promise.all(
        prompts.map(async (prompt, seed) => {
          let ids: readonly number[] = [];
          for await (const event of of.generate(prompt, { ...SEEDED, seed })) {
            if (event.kind === "text") onToken();
            if (event.kind === "finish") ids = event.tokenIds;
          }
          return ids;
        }),
      );
    const expected = await replies(host);
    expect(await replies(llm)).toEqual(expected);
    const next = random(9);
    for (let i = 0; i < BREAKS; i++) {
      // In the midst of the replies, wherever that is in time.
      let left = Math.floor(12 * next());
      const reached = gate();
      const replying = replies(llm, () => left-- === 0 && reached.open());
      await reached.promise;
      if (i % 2 === 0) proxy.kill();
      else {
        const { port } = new URL(proxy.target);
        await there.close({ timeoutMs: 0 });
        there = start();
        await there.listen({ port: Number(port) });
      }
      expect(await replying).toEqual(expected);
    }
    expect((await llm.stats()).companion!.reconnects).toBeGreaterThanOrEqual(BREAKS);
    await llm.dispose();
    await proxy.close();
    await there.close({ timeoutMs: 100 });
  });

  it.each(["requests", "experts", "layers"] as const)(
    "and stays broken leaves the rest of %s to this device, or an error",
    async (mode) => {
      // So long that its end is not on its way already.
      const params = { ...GREEDY, maxTokens: 24 };
      const expected = await eventsOf(host, params);
      for (const fallback of [true, false]) {
        const proxy = await shapingProxy(url);
        const memory = mode === "experts" ? "25%" : undefined;
        const llm = await lean(mode, { memory }, { url: proxy.url, patienceMs: 1000, fallback });
        let tokens = 0;
        const events: GenerationEvent[] = [];
        const reading = (async () => {
          for await (const event of llm.chat(MESSAGES, params)) {
            if (event.kind === "prefill") continue;
            events.push(event.kind === "finish" ? { ...event, usage: {} as never } : event);
            if (++tokens === 1) void proxy.close();
          }
        })();
        if (fallback) {
          await reading;
          expect(events).toEqual(expected);
          expect((await llm.stats()).companion?.state).toBe("replaced");
        } else {
          const error = await reading.catch((error) => error);
          expect(error).toBeInstanceOf(CompanionError);
          expect(error.reason).toBe("lost");
        }
        await llm.dispose();
      }
    },
  );
});

it.each<[CompanionMode, LoadOptions, Partial<CompanionOptions>, RegExp]>([
  ["requests", { maxContext: undefined, configOverrides: { max_position_embeddings: 64 } }, {}, /from 2 to 64/],
  ["layers", {}, { layers: 8 }, /7 can run here/],
])("leaves no link open where loading in the way %s fails", async (mode, more, how, message) => {
  const links = { opened: 0, closed: 0 };
  const observed = Object.assign(new ObservedPlatform(), {
    sockets: async () => {
      const open = await platform.sockets();
      return (address: string) => {
        const socket = open(address);
        links.opened++;
        socket.addEventListener("close", () => links.closed++);
        return socket;
      };
    },
  });
  const companion = { url, key: "secret", mode, ...how };
  await expect(LocalLLM.load(observed, SPROUT, { ...OPTIONS, ...more, companion })).rejects.toThrow(message);
  await expect.poll(() => links).toEqual({ opened: 1, closed: 1 });
  expect(observed.openDevices + observed.openSources).toBe(0);
});

it("tells of a companion before a model leans on it", async () => {
  const probe = await probeCompanion({ url, key: "secret" });
  expect(probe).toMatchObject({ hasExperts: true, maxContext: 256 });
  expect(Math.min(probe.latencyMs, probe.bytesPerSecond, probe.hostTokensPerSecond)).toBeGreaterThan(0);
  await expect(probeCompanion({ url, key: "wrong" })).rejects.toMatchObject({ reason: "refused" });
  await expect(probeCompanion("nowhere")).rejects.toThrow("is not an address");
});

it("takes the best of the ways that it has tried, says so, and leaves nothing of the others", async () => {
  const [devices, sources] = [platform.openDevices, platform.openSources];
  for (const isPrivate of [false, true]) {
    const companion = { url, key: "secret", private: isPrivate };
    const phases: string[] = [];
    const onProgress = ({ phase }: LoadProgress) => void phases.push(phase);
    const llm = await LocalLLM.load(platform, SPROUT, { ...OPTIONS, memory: "25%", onProgress, companion });
    const { mode, predicted, tried, reason, hostTokensPerSecond } = llm.info.companion!;
    const ways = ["none", "experts", "layers", ...(isPrivate ? [] : ["requests"])];
    expect(Object.keys(predicted)).toEqual(ways);
    for (const speed of Object.values(predicted)) expect(speed).toBeGreaterThan(0);
    expect(ways).toContain(mode);
    expect(tried[mode]).toBeGreaterThanOrEqual(0.9 * Math.max(...Object.values(tried)));
    expect(reason).toMatch(/Tokens a second .* Tried: /);
    expect(hostTokensPerSecond).toBeGreaterThan(0);
    expect(phases.filter((phase) => phase === "ready")).toHaveLength(1);
    expect(await eventsOf(llm, GREEDY)).toEqual(await eventsOf(host, GREEDY));
    await llm.dispose();
    expect([platform.openDevices, platform.openSources]).toEqual([devices, sources]);
  }
});

it("keeps tokens here where they are not to leave", async () => {
  const requests = lean("requests", {}, { private: true });
  await expect(requests).rejects.toThrow("sends the tokens of prompts");
});
