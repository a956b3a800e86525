import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Engine, type EngineRequest } from "../../src/engine/engine.ts";
import type { ResolvedSampling } from "../../src/engine/runner.ts";
import { ContextLengthError, InvalidRequestError, NumericalError, QueueFullError } from "../../src/errors.ts";
import { FakeModel, FakeRunner, type FakeRunnerOptions, VOCABULARY } from "../support/fake-runner.ts";
import { gate } from "../support/gate.ts";
import { GREEDY } from "../support/greedy.ts";
import { random } from "../support/random.ts";

/** What goes by measured times is the same on every machine: steps take none but what a test adds. */
let nowMs = 0;
beforeEach(() => void vi.spyOn(performance, "now").mockImplementation(() => nowMs));
afterEach(() => void vi.restoreAllMocks());

const STOP = 10;
const sampling = (changes: Partial<ResolvedSampling> = {}): ResolvedSampling => ({
  ...GREEDY,
  stopIds: [STOP],
  maxTokens: 1000,
  ...changes,
});

/** What a request has to give: the tokens after its prompt, to the first stop or as many as there is room for. */
function expectedReply({ prompt, sampling: s, mask }: EngineRequest, maxContext = 64): number[] {
  const reply: number[] = [];
  const model = new FakeModel(prompt);
  const count = Math.min(s.maxTokens, maxContext - prompt.length);
  while (reply.length < count && !s.stopIds.includes(reply.at(-1) ?? -1)) {
    reply.push(model.next(s, mask?.(reply)));
  }
  return reply;
}

interface Reply {
  readonly tokens: number[];
  readonly cached: number;
  readonly error?: unknown;
}

/** Takes up to `events` events, then leaves the loop. */
async function collect(engine: Engine, request: EngineRequest, events = Number.POSITIVE_INFINITY): Promise<Reply> {
  const tokens: number[] = [];
  let cached = 0;
  try {
    for await (const event of engine.generate(request)) {
      if (event.kind === "token") tokens.push(event.sampled.token);
      else cached = event.cached;
      if (--events <= 0) break;
    }
    return { tokens, cached };
  } catch (error) {
    return { tokens, cached, error };
  }
}

const tokensOf = (length: number, seed: number): number[] => {
  const next = random(seed);
  return Array.from({ length }, () => 11 + Math.floor(next() * (VOCABULARY - 11)));
};

/** All steps have ended, and nobody owns anything but what is kept for later. */
async function settled(engine: Engine): Promise<void> {
  while (engine.stats().running > 0) await new Promise((resolve) => setTimeout(resolve, 0));
  expect(engine.stats()).toMatchObject({ running: 0, waiting: 0, blocks: { used: 0 } });
  engine.clearCache();
  expect(engine.stats()).toMatchObject({ snapshots: 0, blocks: { used: 0, cached: 0 } });
  expect(engine.stats().host?.bytes ?? 0).toBe(0);
}

describe("Engine", () => {
  it("goes on from a reply that was begun before as if it had drawn all of it, and counts its tokens", async () => {
    const engine = new Engine(new FakeRunner());
    const request = { prompt: tokensOf(9, 1), sampling: sampling({ maxTokens: 20, stopIds: [] }) };
    const whole = await collect(engine, request);
    expect(whole.tokens).toHaveLength(20);
    for (const length of [1, 7, 19]) {
      const reply = whole.tokens.slice(0, length);
      const rest = await collect(engine, { ...request, reply });
      expect([...reply, ...rest.tokens]).toEqual(whole.tokens);
      expect(rest.cached).toBeLessThanOrEqual(9);
    }
    const tooLong = await collect(engine, { ...request, reply: tokensOf(55, 2) });
    expect(tooLong.error).toBeInstanceOf(ContextLengthError);
    await settled(engine);
  });

  it("has at once what it needs to go on from a reply that came to its end", async () => {
    const runner = new FakeRunner();
    const engine = new Engine(runner);
    const request = { prompt: tokensOf(9, 1), sampling: sampling({ maxTokens: 8, stopIds: [] }) };
    const { tokens } = await collect(engine, request);
    const before = runner.prefilled;
    await collect(engine, { ...request, reply: [...tokens, 12], sampling: sampling({ maxTokens: 12, stopIds: [] }) });
    expect(runner.prefilled - before).toBe(2);
  });

  it.each([
    ["alone", { maxSequences: 1 }, {}],
    ["a few at a time", { maxSequences: 3, blocks: 60 }, {}],
    ["in need of blocks", { maxSequences: 8, blocks: 24 }, {}],
    ["without anything kept", { maxSequences: 4, slots: 4, blocks: 50 }, {}],
    ["with steps that fail", { maxSequences: 4, blocks: 60 }, { fails: true }],
    ["with states on the host", { maxSequences: 2, blocks: 30 }, { hostBytes: 4000 }],
    ["with states on the host, and steps that fail", { maxSequences: 3, blocks: 40 }, { hostBytes: 1500, fails: true }],
  ] as const)("gives what a fresh state would: %s", async (_, options, trouble) => {
    const sum = { hit: 0, preempted: 0, largest: 0, restored: 0 };
    for (let seed = 0; seed < 12; seed++) {
      const { stats, runner } = await manyRequests(seed, options, trouble);
      sum.hit += stats.cachedTokens.hit;
      sum.preempted += stats.preempted;
      sum.restored += stats.host?.restoredTokens ?? 0;
      sum.largest = Math.max(sum.largest, runner.largestBatch);
    }
    // Else the runs above would show nothing.
    expect(sum.hit).toBeGreaterThan("slots" in options ? -1 : 400);
    if ("hostBytes" in trouble) expect(sum.restored).toBeGreaterThan(20);
    expect(sum.largest).toBeGreaterThanOrEqual(Math.min(3, options.maxSequences));
  });

  it("never mixes 64 streams", async () => {
    const runner = new FakeRunner({
      ...{ maxSequences: 64, slots: 90, maxContext: 128, maxBatchTokens: 64, blocks: 700 },
      // Long enough for prompts to be read meanwhile.
      delay: (kind) => new Promise((resolve) => setTimeout(resolve, kind === "decode" ? 1 : 0)),
    });
    const engine = new Engine(runner);
    const next = random(64);
    const system = tokensOf(21, 1);
    let streams = 0;
    await Promise.all(
      Array.from({ length: 64 }, async (_, stream) => {
        let prompt = [...system, 11 + stream, ...tokensOf(6, stream)];
        for (let turn = 0; turn < 6; turn++) {
          for (let wait = Math.floor(next() * 4); wait > 0; wait--) await new Promise((r) => setTimeout(r, 0));
          const request = {
            prompt,
            boundaries: [prompt.length - 2],
            sampling: sampling({ maxTokens: 40, stopIds: [] }),
          };
          const isCut = next() < 0.2;
          const reply = await collect(engine, request, isCut ? 1 + Math.floor(next() * 6) : undefined);
          const expected = expectedReply(request, 128);
          expect(reply.tokens).toEqual(isCut ? expected.slice(0, reply.tokens.length) : expected);
          if (!isCut) streams++;
          prompt = [...prompt, ...reply.tokens, 11 + stream, 12].slice(0, 80);
        }
      }),
    );
    expect(streams).toBeGreaterThan(250);
    expect(runner.largestBatch).toBeGreaterThan(16);
    expect(engine.stats().steps.decode).toBeGreaterThan(100);
    await settled(engine);
  });

  it("takes the state of the youngest where blocks run out, and goes on with it later as if nothing had been", async () => {
    const engine = new Engine(new FakeRunner({ maxSequences: 4, blocks: 22 }));
    const ended: number[] = [];
    await Promise.all(
      [1, 2, 3, 4].map(async (i) => {
        const drawing = { temperature: 1, seed: i, frequencyPenalty: 1, stopIds: [], maxTokens: 40 };
        const request = { prompt: tokensOf(6, i), sampling: sampling(drawing) };
        expect((await collect(engine, request)).tokens).toEqual(expectedReply(request));
        ended.push(i);
      }),
    );
    expect(engine.stats().preempted).toBeGreaterThan(1);
    expect(ended[0]).toBe(1);
    await settled(engine);
  });

  it("submits ahead, and steps after the last token do nothing", async () => {
    const runner = new FakeRunner();
    const engine = new Engine(runner);
    const first = { prompt: [3, 1, 4, 1, 6], sampling: sampling({ stopIds: [] }) };
    const stop = expectedReply(first)[7];
    const request = { ...first, sampling: sampling({ stopIds: [stop] }) };
    const expected = expectedReply(request);
    expect((await collect(engine, request)).tokens).toEqual(expected);
    await settledRunner(runner);
    // Its steps are so short that three are under way at once.
    expect(runner.idleSteps).toBe(2);
    // The stop was drawn, but not read.
    const goesOn = [...first.prompt, ...expected, 2];
    const reply = await collect(engine, { prompt: goesOn, sampling: sampling({ maxTokens: 1 }) });
    expect(reply.cached).toBe(goesOn.length - 2);
    expect(reply.tokens).toEqual([new FakeModel(goesOn).next(sampling())]);
    // Where it is known beforehand which is the last, nothing is submitted after it.
    await collect(engine, { ...first, sampling: sampling({ stopIds: [], maxTokens: 9 }) });
    expect(runner.idleSteps).toBe(2);
  });

  it("submits the parts of a prompt without waiting, unless there is company", async () => {
    let underWay = 0;
    let most = 0;
    class Counting extends FakeRunner {
      override async prefill(steps: Parameters<FakeRunner["prefill"]>[0]) {
        most = Math.max(most, ++underWay);
        const drawn = await super.prefill(steps);
        underWay--;
        return drawn;
      }
    }
    const { maxBatchTokens } = new FakeRunner().limits;
    const long = { prompt: tokensOf(4 * maxBatchTokens, 5), sampling: sampling({ stopIds: [], maxTokens: 30 }) };
    const engine = new Engine(new Counting({ maxSequences: 2, blocks: 64 }));
    expect((await collect(engine, long)).tokens).toEqual(expectedReply(long));
    expect(most).toBeGreaterThan(1);
    most = 0;
    const others = [6, 7].map((seed) => ({ ...long, prompt: tokensOf(long.prompt.length, seed) }));
    await Promise.all(others.map((each) => collect(engine, each)));
    expect(most).toBe(1);
  });

  it("keeps the state at a boundary for prompts that part there", async () => {
    const engine = new Engine(new FakeRunner());
    const system = [1, 2, 3, 4, 5, 6, 7];
    await collect(engine, { prompt: [...system, 8, 9], boundaries: [7], sampling: sampling({ maxTokens: 4 }) });
    const other = { prompt: [...system, 0, 0], boundaries: [7], sampling: sampling({ maxTokens: 4 }) };
    const reply = await collect(engine, other);
    expect(reply.cached).toBe(7);
    expect(reply.tokens).toEqual(expectedReply(other));
  });

  it("keeps the state at several boundaries, so that the second prompt with another end is met already", async () => {
    const engine = new Engine(new FakeRunner({ slots: 12, blocks: 60 }));
    const [system, question] = [tokensOf(22, 5), tokensOf(17, 6)];
    const cached: number[] = [];
    for (const end of [question, tokensOf(17, 7), [...question, 3, 4, 5]]) {
      const prompt = [...system, ...end, 1, 2];
      const request = { prompt, boundaries: [22, 39, prompt.length - 1], sampling: sampling({ maxTokens: 3 }) };
      const reply = await collect(engine, request);
      expect(reply.tokens).toEqual(expectedReply(request));
      cached.push(reply.cached);
    }
    expect(cached).toEqual([0, 22, 39]);
  });

  it("reads what requests of the same moment have in common once", async () => {
    const runner = new FakeRunner({ maxSequences: 4, slots: 12, blocks: 80, maxBatchTokens: 16 });
    const engine = new Engine(runner);
    const system = tokensOf(30, 5);
    const requests = [0, 0, 0, 1, 2].map((end, i) => ({
      prompt: [...system, end, ...tokensOf(8, end)],
      boundaries: [30, 38],
      sampling: sampling({ maxTokens: 5, temperature: 1, seed: i }),
    }));
    const stranger = { prompt: tokensOf(12, 9), sampling: sampling({ maxTokens: 3 }) };
    const replies = await Promise.all([...requests, stranger].map((request) => collect(engine, request)));
    expect(replies.map(({ tokens }) => tokens)).toEqual(
      [...requests, stranger].map((request) => expectedReply(request)),
    );
    expect(replies.map(({ cached }) => cached)).toEqual([0, 38, 38, 30, 30, 0]);
    expect(runner.prefilled).toBe(39 + 1 + 1 + 9 + 9 + 12);
    // Who has nothing in common with them did not wait.
    expect(runner.log.slice(0, 4).some(({ kind, sequences }) => kind === "prefill" && sequences === 2)).toBe(true);
    await settled(engine);
  });

  it("finds where prompts part, and keeps the state there from the second on", async () => {
    const engine = new Engine(new FakeRunner({ slots: 12, blocks: 60 }));
    const system = tokensOf(22, 5);
    const cached: number[] = [];
    for (let i = 0; i < 4; i++) {
      const prompt = [...system, 60 + i, ...tokensOf(9, i)];
      const request = { prompt, boundaries: [prompt.length - 2], sampling: sampling({ maxTokens: 3 }) };
      const reply = await collect(engine, request);
      expect(reply.tokens).toEqual(expectedReply(request));
      cached.push(reply.cached);
    }
    expect(cached).toEqual([0, 0, 22, 22]);
  });

  it("brings back states that left the device, where that is faster than to read the tokens again", async () => {
    for (const copyMs of [0, 30]) {
      const delay = async () => {
        nowMs += 2;
      };
      const runner = new FakeRunner({ slots: 3, blocks: 60, delay });
      const { download } = runner.transfer;
      const slow = gate();
      if (copyMs === 0) slow.open();
      Object.assign(runner.transfer, {
        download: async (...args: Parameters<typeof download>) => {
          const arrived = await download(...args);
          await slow.promise;
          return arrived;
        },
      });
      const engine = new Engine(runner, {}, 10_000);
      const chats = [1, 2, 3].map((i) => ({
        prompt: [...tokensOf(30, i), 1, 2],
        boundaries: [30],
        sampling: sampling({ maxTokens: 2, stopIds: [] }),
      }));
      for (const request of chats) await collect(engine, request);
      nowMs += copyMs;
      slow.open();
      await new Promise((resolve) => setTimeout(resolve, 0));
      const again = await collect(engine, { ...chats[0], prompt: [...chats[0].prompt.slice(0, 30), 7, 8, 9] });
      expect(again.tokens).toEqual(expectedReply({ ...chats[0], prompt: [...chats[0].prompt.slice(0, 30), 7, 8, 9] }));
      expect(again.cached).toBe(copyMs === 0 ? 30 : 0);
      const { host } = engine.stats();
      expect(host).toMatchObject({ restoredTokens: again.cached, maxBytes: 10_000 });
      // Prefixes of each other share their whole blocks.
      expect(host!.bytes).toBeLessThan(host!.copies * (8 + 8 * 32));
      await settled(engine);
    }
  });

  it("does not keep what follows the boundary", async () => {
    const engine = new Engine(new FakeRunner({ slots: 12, blocks: 60 }));
    const prompt = tokensOf(40, 3);
    const request = { prompt, boundaries: [20], sampling: sampling({ maxTokens: 3 }) };
    for (let i = 0; i < 3; i++) expect((await collect(engine, request)).cached).toBe(i === 0 ? 0 : 20);
  });

  it("reads long prompts between the tokens of others, and short ones before them", async () => {
    const runner = new FakeRunner({
      ...{ maxSequences: 4, maxContext: 1024, maxBatchTokens: 128, blocks: 1024, slots: 8 },
      delay: () => new Promise((resolve) => setImmediate(resolve)),
    });
    const engine = new Engine(runner);
    const long = { prompt: tokensOf(1000, 1), sampling: sampling({ maxTokens: 2 }) };
    const short = { prompt: tokensOf(20, 2), sampling: sampling({ stopIds: [], maxTokens: 200 }) };
    const done: string[] = [];
    const decoding = collect(engine, short).then((reply) => {
      done.push("short");
      return reply;
    });
    while (engine.stats().steps.decode < 5) await new Promise((resolve) => setImmediate(resolve));
    const reading = collect(engine, long).then((reply) => {
      done.push("long");
      return reply;
    });
    const late = collect(engine, { prompt: tokensOf(30, 3), sampling: sampling({ maxTokens: 2 }) }).then(() => {
      done.push("late");
    });
    expect((await decoding).tokens).toEqual(expectedReply(short, 1024));
    expect((await reading).tokens).toEqual(expectedReply(long, 1024));
    await late;
    expect(done[0]).toBe("late");
    // Tokens are drawn between the parts of the long prompt.
    const kinds = runner.log.map(({ kind }) => kind[0]).join("");
    expect(kinds.match(/d+p/g)!.length).toBeGreaterThan(5);
  });

  it("reads the prompts of several requests in one step", async () => {
    const runner = new FakeRunner({ maxSequences: 3, maxBatchTokens: 32, blocks: 60 });
    const engine = new Engine(runner);
    await Promise.all([1, 2, 3].map((i) => collect(engine, { prompt: [i, 50], sampling: sampling({ maxTokens: 2 }) })));
    expect(runner.log[0]).toEqual({ kind: "prefill", rows: 6, sequences: 3 });
  });

  it("fills the context and no more", async () => {
    const engine = new Engine(new FakeRunner({ maxContext: 12 }));
    const prompt = Array.from({ length: 11 }, () => 1);
    const { tokens } = await collect(engine, { prompt, sampling: sampling({ stopIds: [] }) });
    expect(tokens).toHaveLength(1);
    const short = await collect(engine, { prompt: [1], sampling: sampling({ stopIds: [] }) });
    expect(short.tokens).toHaveLength(11);
    await settled(engine);
  });

  it("asks for a mask before each draw", async () => {
    const engine = new Engine(new FakeRunner({ maxSequences: 2, blocks: 40 }));
    const request: EngineRequest = {
      prompt: [1, 2, 3],
      sampling: sampling({ maxTokens: 10, stopIds: [] }),
      mask: evenAndOdd,
    };
    const free = { prompt: [9, 9], sampling: sampling({ maxTokens: 20, stopIds: [] }) };
    const [masked, other] = await Promise.all([collect(engine, request), collect(engine, free)]);
    expect(masked.tokens).toEqual(expectedReply(request));
    expect(masked.tokens.slice(0, 8).map((token) => token % 2)).toEqual([0, 1, 0, 1, 0, 1, 0, 1]);
    expect(other.tokens).toEqual(expectedReply(free));
  });

  it("goes on ahead with many beside one with a mask, which is in every other step", async () => {
    const runner = new FakeRunner({ maxSequences: 6, blocks: 200 });
    const engine = new Engine(runner);
    const drawn = { maxTokens: 30, stopIds: [] };
    const request: EngineRequest = {
      prompt: [1, 2, 3],
      sampling: sampling({ ...drawn, maxTokens: 8 }),
      mask: evenAndOdd,
    };
    const free = [4, 5, 6, 7, 8].map((id) => ({ prompt: [id, 9], sampling: sampling(drawn) }));
    const replies = await Promise.all([request, ...free].map((one) => collect(engine, one)));
    expect(replies.map(({ tokens }) => tokens)).toEqual([request, ...free].map((one) => expectedReply(one)));
    const rows = runner.log.filter(({ kind }) => kind === "decode").map(({ rows }) => rows);
    expect(rows.slice(rows.indexOf(6)).slice(0, 6)).toEqual([6, 5, 6, 5, 6, 5]);
    await settled(engine);
    // Few others wait for it, so that all share each step.
    const few = new FakeRunner({ maxSequences: 3, blocks: 100 });
    const company = new Engine(few);
    await Promise.all([request, ...free.slice(0, 2)].map((one) => collect(company, one)));
    const together = few.log.filter(({ kind }) => kind === "decode").map(({ rows }) => rows);
    const shared = together.slice(together.indexOf(3), together.lastIndexOf(3) + 1);
    expect(new Set(shared)).toEqual(new Set([3]));
  });

  it("lets a reply wait for its mask, first or later, and nobody else", async () => {
    for (const late of [0, 1, 5]) {
      const runner = new FakeRunner({ maxSequences: 3, blocks: 100 });
      const engine = new Engine(runner);
      let release!: () => void;
      const prepared: number[] = [];
      const masked: EngineRequest = {
        prompt: tokensOf(9, 1),
        sampling: sampling({ maxTokens: 10, stopIds: [] }),
        mask: evenAndOdd,
        prepareMask: ({ length }) => {
          prepared.push(length);
          return length === late ? new Promise((resolve) => (release = resolve)) : undefined;
        },
      };
      const reply = collect(engine, masked);
      const free = { prompt: tokensOf(5, 2), sampling: sampling({ maxTokens: 40, stopIds: [] }) };
      for (let i = 0; i < 2; i++) expect((await collect(engine, free)).tokens).toEqual(expectedReply(free));
      expect(prepared.at(-1)).toBe(late);
      release();
      expect((await reply).tokens).toEqual(expectedReply(masked));
      expect(prepared).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      await settled(engine);
    }
  });

  it("fails only the request whose mask cannot be prepared, or lets it leave meanwhile", async () => {
    for (const late of [0, 3]) {
      const engine = new Engine(new FakeRunner({ maxSequences: 2, blocks: 60 }));
      const free = { prompt: tokensOf(5, 2), sampling: sampling({ maxTokens: 20, stopIds: [] }) };
      const waiting = (promise: () => Promise<void>, signal?: AbortSignal): EngineRequest => ({
        prompt: tokensOf(9, 1),
        sampling: sampling({ maxTokens: 10, stopIds: [] }),
        mask: evenAndOdd,
        prepareMask: ({ length }) => (length === late ? promise() : undefined),
        signal,
      });
      const failing = waiting(() => Promise.reject(new Error("no mask")));
      const [failed, other] = await Promise.all([failing, free].map((one) => collect(engine, one)));
      expect(failed.error).toMatchObject({ message: "no mask" });
      expect(failed.tokens).toEqual(expectedReply(failing).slice(0, late));
      expect(other.tokens).toEqual(expectedReply(free));
      const controller = new AbortController();
      const left = collect(
        engine,
        waiting(() => new Promise(() => {}), controller.signal),
      );
      await new Promise((resolve) => setTimeout(resolve, 5));
      controller.abort();
      expect((await left).error).toBeUndefined();
      await settled(engine);
    }
  });

  it("gives the logits after each token of a prompt, beside replies, and leaves the state behind", async () => {
    for (let seed = 0; seed < 10; seed++) {
      let steps = 0;
      const runner = new FakeRunner({
        ...{ maxSequences: 3, blocks: 26, slots: 8 },
        trouble: () => (++steps === 3 + seed ? "nan" : undefined),
      });
      const engine = new Engine(runner);
      const others = [1, 2, 3].map((i) => ({
        prompt: tokensOf(9, i),
        sampling: sampling({ stopIds: [], maxTokens: 30, seed }),
      }));
      const prompt = tokensOf(31, seed);
      const best: number[] = [];
      const scored: EngineRequest = {
        prompt,
        sampling: sampling(),
        score: (logits, position) => {
          expect(position).toBe(best.length);
          best.push(logits.indexOf(1));
        },
      };
      const [first, ...replies] = await Promise.all([scored, ...others].map((request) => collect(engine, request)));
      expect(first).toEqual({ tokens: [], cached: 0 });
      expect(best).toEqual(prompt.map((_, i) => new FakeModel(prompt.slice(0, i + 1)).next(sampling())));
      expect(replies.map(({ tokens }) => tokens)).toEqual(others.map((request) => expectedReply(request)));
      const after = { prompt: [...prompt, 5], sampling: sampling({ maxTokens: 3 }) };
      const reply = await collect(engine, after);
      expect(reply.tokens).toEqual(expectedReply(after));
      await settled(engine);
    }
  });

  it("has the state of what was scored, and stops where its caller does not want more", async () => {
    const engine = new Engine(new FakeRunner({ maxSequences: 2, blocks: 40 }));
    const prompt = tokensOf(31, 3);
    await collect(engine, { prompt, sampling: sampling(), score: () => {} });
    expect((await collect(engine, { prompt: [...prompt, 5], sampling: sampling({ maxTokens: 3 }) })).cached).toBe(31);
    const failing = () => {
      throw new Error("no score");
    };
    expect((await collect(engine, { prompt, sampling: sampling(), score: failing })).error).toMatchObject({
      message: "no score",
    });
    for (const last of [7, 31]) {
      const controller = new AbortController();
      let count = 0;
      const score = () => void (++count === last && controller.abort());
      await collect(engine, { prompt, sampling: sampling(), score, signal: controller.signal });
      expect(count).toBe(last);
    }
    await settled(engine);
  });

  it("fails only the request whose mask fails, and asks for none once its caller has left", async () => {
    for (const draws of [0, 1, 5]) {
      const engine = new Engine(new FakeRunner({ maxSequences: 2, blocks: 40 }));
      let hasLeft = false;
      const request: EngineRequest = {
        prompt: [1, 2, 3],
        sampling: sampling({ stopIds: [], maxTokens: 10 }),
        mask: (reply) => {
          expect(hasLeft).toBe(false);
          if (reply.length === draws) throw new Error("no mask");
          return undefined;
        },
      };
      const free = { prompt: [9, 9], sampling: sampling({ maxTokens: 20, stopIds: [] }) };
      const [masked, other] = await Promise.all([collect(engine, request), collect(engine, free)]);
      expect(masked.error).toMatchObject({ message: "no mask" });
      expect(masked.tokens).toEqual(expectedReply({ ...request, mask: undefined }).slice(0, draws));
      expect(other.tokens).toEqual(expectedReply(free));
      await collect(engine, request, 1);
      hasLeft = true;
      await settled(engine);
    }
  });

  it.each(["queue", "prefill", "decode"])("frees all at once where a request is aborted in %s", async (where) => {
    const engine = new Engine(new FakeRunner({ delay: () => new Promise((resolve) => setTimeout(resolve, 1)) }));
    const first = engine.generate({ prompt: tokensOf(20, 1), sampling: sampling({ stopIds: [] }) });
    await first.next();
    const controller = new AbortController();
    const request = { prompt: tokensOf(30, 2), sampling: sampling({ stopIds: [] }), signal: controller.signal };
    const aborted = engine.generate(request);
    const pending = aborted.next();
    if (where !== "queue") {
      await first.return();
      const wanted = where === "prefill" ? "prefill" : "token";
      for (let e = await pending; e.value?.kind !== wanted; ) e = await aborted.next();
    }
    controller.abort();
    while (!(await aborted.next()).done) {}
    if (where === "queue") expect(engine.stats().waiting).toBe(0);
    const third = { prompt: [3], sampling: sampling({ maxTokens: 2 }) };
    if (where === "queue") await first.return();
    expect((await collect(engine, third)).tokens).toEqual(expectedReply(third));
    await settled(engine);
  });

  it("refuses more than may wait, and says how many do", async () => {
    const engine = new Engine(new FakeRunner(), { maxWaiting: 2, maxWaitingTokens: 20 });
    const request = (length: number) => ({ prompt: tokensOf(length, 1), sampling: sampling({ maxTokens: 2 }) });
    const accepted = [3, 3, 3].map((length) => collect(engine, request(length)));
    const { error } = await collect(engine, request(3));
    expect(error).toBeInstanceOf(QueueFullError);
    expect((await Promise.all(accepted)).map(({ tokens }) => tokens.length)).toEqual([2, 2, 2]);
    const long = [15, 15].map((length) => collect(engine, request(length)));
    expect((await collect(engine, request(15))).error).toMatchObject({ waitingTokens: 15 });
    await Promise.all(long);
  });

  it("fails only who was in a step that fails", async () => {
    let steps = 0;
    const runner = new FakeRunner({
      maxSequences: 2,
      blocks: 60,
      trouble: () => {
        if (++steps === 5) throw new Error("fifth step");
        return undefined;
      },
    });
    const engine = new Engine(runner);
    const requests = [1, 2, 3].map((i) => ({ prompt: [i], sampling: sampling({ stopIds: [], maxTokens: 10 }) }));
    const replies = await Promise.all(requests.map((request) => collect(engine, request)));
    expect(replies.map(({ error }) => (error as Error)?.message)).toEqual(["fifth step", "fifth step", undefined]);
    expect(replies[2].tokens).toEqual(expectedReply(requests[2]));
    await settled(engine);
  });

  it("fails everybody where the device is lost", async () => {
    let steps = 0;
    const runner: FakeRunner = new FakeRunner({
      trouble: () => {
        if (++steps < 3) return undefined;
        runner.isLost = true;
        throw new Error("lost");
      },
    });
    const engine = new Engine(runner);
    const replies = await Promise.all([1, 2].map((i) => collect(engine, { prompt: [i], sampling: sampling() })));
    expect(replies.map(({ error }) => (error as Error)?.message)).toEqual(["lost", "lost"]);
  });

  it("reads everything again where all states are lost, and tells nobody", async () => {
    const next = random(4);
    const trouble = () => (next() < 0.1 ? "lost" : undefined);
    const runner = new FakeRunner({ maxSequences: 3, slots: 6, blocks: 60, trouble });
    const engine = new Engine(runner);
    const requests = Array.from({ length: 40 }, (_, i) => ({
      prompt: tokensOf(3 + (i % 9), i % 5),
      sampling: sampling({ stopIds: [], maxTokens: 4 + (i % 11), temperature: i % 2, seed: i }),
    }));
    const replies = await Promise.all(
      requests.map(async (request, i) => {
        await new Promise((resolve) => setTimeout(resolve, i));
        return collect(engine, request, i % 7 === 6 ? 5 : undefined);
      }),
    );
    replies.forEach(({ tokens, error }, i) => {
      expect(error).toBeUndefined();
      const expected = expectedReply(requests[i]);
      expect(tokens).toEqual(i % 7 === 6 ? expected.slice(0, tokens.length) : expected);
    });
    await settled(engine);
  });

  it.each([
    ["an empty prompt", [], InvalidRequestError],
    ["ids outside the vocabulary", [1, VOCABULARY], InvalidRequestError],
    ["fractions", [1.5], InvalidRequestError],
    ["a prompt that fills the context", Array.from({ length: 64 }, () => 1), ContextLengthError],
  ])("refuses %s, and does not touch the state", async (_, prompt, kind) => {
    const engine = new Engine(new FakeRunner());
    await collect(engine, { prompt: [1, 2, 3], sampling: sampling({ maxTokens: 1 }) });
    expect((await collect(engine, { prompt, sampling: sampling() })).error).toBeInstanceOf(kind);
    expect((await collect(engine, { prompt: [1, 2, 3, 4], sampling: sampling({ maxTokens: 1 }) })).cached).toBe(3);
  });

  it("reads a request again, once, where something is not a number, and tells nobody", async () => {
    let steps = 0;
    const engine = new Engine(new FakeRunner({ trouble: () => (++steps === 4 ? "nan" : undefined) }));
    const request = { prompt: [1, 2], sampling: sampling({ stopIds: [], maxTokens: 12 }) };
    expect((await collect(engine, request)).tokens).toEqual(expectedReply(request));
    expect(engine.stats().nanReplays).toBe(1);
  });

  it("fails a request, and no other, that gives what is not a number twice", async () => {
    let steps = 0;
    const runner = new FakeRunner({ maxSequences: 2, blocks: 40, trouble: () => (++steps > 2 ? "nan" : undefined) });
    const engine = new Engine(runner);
    const request = (token: number) => ({ prompt: [token, 2], sampling: sampling({ stopIds: [], maxTokens: 12 }) });
    const bad = await collect(engine, request(1));
    expect(bad.error).toBeInstanceOf(NumericalError);
    expect(bad.tokens).toEqual(expectedReply(request(1)).slice(0, bad.tokens.length));
    steps = -1000;
    // Nothing of it was kept.
    expect(await collect(engine, request(1))).toEqual({ tokens: expectedReply(request(1)), cached: 0 });
    await settled(engine);
  });

  it("does not grow over a thousand turns", async () => {
    const runner = new FakeRunner({ maxSequences: 2, slots: 6, blocks: 40 });
    const engine = new Engine(runner);
    let prompt = [1];
    for (let turn = 0; turn < 1000; turn++) {
      const { tokens } = await collect(engine, {
        prompt,
        boundaries: [prompt.length - 1],
        sampling: sampling({ maxTokens: 3 }),
      });
      prompt = prompt.length > 50 ? [turn % VOCABULARY] : [...prompt, ...tokens, turn % VOCABULARY];
      const { snapshots, blocks } = engine.stats();
      expect(snapshots).toBeLessThanOrEqual(4);
      expect(blocks.used + blocks.cached).toBeLessThanOrEqual(40);
    }
    await settled(engine);
  });
});

/** Even tokens after odd and odd after even ones, eight times, then any. */
function evenAndOdd(reply: readonly number[]): Uint32Array<ArrayBuffer> | undefined {
  if (reply.length >= 8) return undefined;
  return new Uint32Array(Math.ceil(VOCABULARY / 32)).fill((reply.at(-1) ?? 1) % 2 ? 0x55555555 : 0xaaaaaaaa);
}

async function settledRunner(runner: FakeRunner): Promise<void> {
  while (runner.running > 0) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** Requests of a few conversations that are gone on with, edited, aborted, left, and met by errors. */
async function manyRequests(
  seed: number,
  options: FakeRunnerOptions,
  { fails = false, hostBytes = 0 }: { fails?: boolean; hostBytes?: number } = {},
) {
  const next = random(seed);
  const below = (n: number) => Math.floor(next() * n);
  const runner = new FakeRunner({
    slots: (options.maxSequences ?? 1) + below(5),
    ...options,
    delay: async (kind) => {
      // Else nothing would be gained by states that come back.
      if (kind === "prefill") nowMs++;
      for (let k = below(3); k > 0; k--) await Promise.resolve();
      if (next() < 0.02) await new Promise((resolve) => setTimeout(resolve, 0));
    },
    trouble: () => {
      if (fails && next() < 0.02) throw new Error("made up");
      return fails && next() < 0.01 ? "nan" : undefined;
    },
  });
  const engine = new Engine(runner, {}, hostBytes);
  const conversations: number[][] = [[]];

  const request = async () => {
    const earlier = conversations.at(-1 - below(Math.min(4, conversations.length)))!;
    const kept = earlier.slice(0, next() < 0.6 ? earlier.length : below(earlier.length));
    const prompt = [...kept, ...Array.from({ length: 1 + below(5) }, () => below(VOCABULARY))].slice(0, 40);
    const controller = new AbortController();
    if (next() < 0.2) void new Promise((resolve) => setTimeout(resolve, 0)).then(() => controller.abort());
    const ends = Array.from({ length: 1 + below(3) }, () => 1 + below(prompt.length + 2)).sort((a, b) => a - b);
    const boundaries = next() < 0.7 ? ends : undefined;
    const events = next() < 0.3 ? 1 + below(8) : undefined;
    const temperature = next() < 0.5 ? 1 : 0;
    const drawing = { temperature, seed: below(1000), frequencyPenalty: below(2), maxTokens: 1 + below(20) };
    const mask = next() < 0.2 ? evenAndOdd : undefined;
    const isSlow = mask !== undefined && next() < 0.5;
    const prepareMask = () => (isSlow && next() < 0.5 ? new Promise<void>((done) => setTimeout(done, 0)) : undefined);
    const asked = { prompt, boundaries, mask, prepareMask, sampling: sampling(drawing), signal: controller.signal };
    const reply = await collect(engine, asked, events);
    const expected = expectedReply(asked);
    const isWhole = !reply.error && events === undefined && !controller.signal.aborted;
    expect(reply.tokens, `seed ${seed}`).toEqual(isWhole ? expected : expected.slice(0, reply.tokens.length));
    if (reply.error && !(reply.error instanceof NumericalError)) expect((reply.error as Error).message).toBe("made up");
    expect(reply.cached).toBeLessThan(prompt.length);
    conversations.push([...prompt, ...reply.tokens]);
  };
  const width = 2 * (options.maxSequences ?? 1);
  for (let round = 0; round < 12; round++) await Promise.all(Array.from({ length: 1 + below(width) }, request));
  await settledRunner(runner);
  const stats = engine.stats();
  expect(stats.host?.bytes ?? 0).toBeLessThanOrEqual(hostBytes);
  await settled(engine);
  return { stats, runner };
}
