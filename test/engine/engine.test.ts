import { describe, expect, it } from "vitest";
import { Engine, type EngineRequest } from "../../src/engine/engine.ts";
import type { ResolvedSampling } from "../../src/engine/runner.ts";
import { ContextLengthError, InvalidRequestError, NumericalError } from "../../src/errors.ts";
import { FakeRunner, nextToken } from "../support/fake-runner.ts";
import { GREEDY } from "../support/greedy.ts";
import { random } from "../support/random.ts";

const STOP = 10;
const sampling = (changes: Partial<ResolvedSampling> = {}): ResolvedSampling => ({
  ...GREEDY,
  stopIds: [STOP],
  maxTokens: 1000,
  ...changes,
});

/** What a request has to give: the tokens after its prompt, to the first stop or as many as there is room for. */
function expectedReply(prompt: readonly number[], maxTokens: number): number[] {
  const all = [...prompt];
  while (all.length < prompt.length + maxTokens && (all.length === prompt.length || all.at(-1) !== STOP)) {
    all.push(nextToken(all));
  }
  return all.slice(prompt.length);
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

describe("Engine", () => {
  it("gives what a fresh state would, after any aborts, errors and edits before", async () => {
    let cachedInAll = 0;
    for (let seed = 0; seed < 60; seed++) cachedInAll += await manyRequests(seed);
    // Else the runs above would show nothing.
    expect(cachedInAll).toBeGreaterThan(1000);
  });

  it("runs one request at a time, in the order of their coming", async () => {
    const engine = new Engine(new FakeRunner());
    const prompts = [[1, 2, 3], [4], [1, 2, 9], [5, 5]];
    const order: number[] = [];
    await Promise.all(
      prompts.map(async (prompt, i) => {
        const reply = await collect(engine, { prompt, sampling: sampling({ maxTokens: 6 }) });
        expect(reply.tokens).toEqual(expectedReply(prompt, 6));
        order.push(i);
      }),
    );
    expect(order).toEqual([0, 1, 2, 3]);
  });

  it("submits ahead, and steps after the last token do nothing", async () => {
    const runner = new FakeRunner();
    const engine = new Engine(runner);
    const prompt = [3, 1, 4, 1, 5];
    const first = expectedReply(prompt, 1000);
    expect(first.at(-1)).toBe(STOP);
    expect((await collect(engine, { prompt, sampling: sampling() })).tokens).toEqual(first);
    expect(runner.idleSteps).toBe(1);
    // The stop was drawn, but not read.
    const goesOn = [...prompt, ...first, 2];
    const reply = await collect(engine, { prompt: goesOn, sampling: sampling({ maxTokens: 1 }) });
    expect(reply.cached).toBe(prompt.length + first.length - 1);
    expect(reply.tokens).toEqual(expectedReply(goesOn, 1));
  });

  it("keeps the state at a boundary for prompts that part there", async () => {
    const runner = new FakeRunner();
    const engine = new Engine(runner);
    const system = [1, 2, 3, 4, 5, 6, 7];
    await collect(engine, { prompt: [...system, 8, 9], boundary: 7, sampling: sampling({ maxTokens: 4 }) });
    const other = await collect(engine, {
      prompt: [...system, 0, 0],
      boundary: 7,
      sampling: sampling({ maxTokens: 4 }),
    });
    expect(other.cached).toBe(7);
    expect(other.tokens).toEqual(expectedReply([...system, 0, 0], 4));
  });

  it("fills the context and no more", async () => {
    const engine = new Engine(new FakeRunner({ maxContext: 12 }));
    const prompt = Array.from({ length: 11 }, () => 1);
    const { tokens } = await collect(engine, { prompt, sampling: sampling({ stopIds: [] }) });
    expect(tokens).toHaveLength(1);
    const short = await collect(engine, { prompt: [1], sampling: sampling({ stopIds: [] }) });
    expect(short.tokens).toHaveLength(11);
  });

  it("ends without an error where the signal is aborted while it waits", async () => {
    const engine = new Engine(new FakeRunner());
    const first = engine.generate({ prompt: [1], sampling: sampling() });
    await first.next();
    const controller = new AbortController();
    const waiting = collect(engine, { prompt: [2], sampling: sampling(), signal: controller.signal });
    const third = collect(engine, { prompt: [3], sampling: sampling({ maxTokens: 2 }) });
    controller.abort();
    expect(await waiting).toEqual({ tokens: [], cached: 0 });
    await first.return();
    expect((await third).tokens).toEqual(expectedReply([3], 2));
  });

  it("waits for all steps under way before the next request, even when one fails", async () => {
    let steps = 0;
    const runner = new FakeRunner({
      trouble: () => {
        if (++steps === 3) throw new Error("third step");
        return undefined;
      },
    });
    const engine = new Engine(runner);
    const { error } = await collect(engine, { prompt: [1], sampling: sampling({ stopIds: [] }) });
    expect((error as Error).message).toBe("third step");
    expect(runner.running).toBe(0);
  });

  it.each([
    ["an empty prompt", [], InvalidRequestError],
    ["ids outside the vocabulary", [1, 11], InvalidRequestError],
    ["fractions", [1.5], InvalidRequestError],
    ["a prompt that fills the context", Array.from({ length: 64 }, () => 1), ContextLengthError],
  ])("refuses %s, and does not touch the state", async (_, prompt, kind) => {
    const engine = new Engine(new FakeRunner());
    await collect(engine, { prompt: [1, 2, 3], sampling: sampling({ maxTokens: 1 }) });
    expect((await collect(engine, { prompt, sampling: sampling() })).error).toBeInstanceOf(kind);
    expect((await collect(engine, { prompt: [1, 2, 3, 4], sampling: sampling({ maxTokens: 1 }) })).cached).toBe(3);
  });

  it("does not go on from numbers that are none", async () => {
    let steps = 0;
    const engine = new Engine(new FakeRunner({ trouble: () => (++steps === 4 ? "nan" : undefined) }));
    const prompt = [1, 2];
    const bad = await collect(engine, { prompt, sampling: sampling({ stopIds: [] }) });
    expect(bad.error).toBeInstanceOf(NumericalError);
    expect(bad.tokens).toHaveLength(3);
    expect((await collect(engine, { prompt: [1, 2, 3], sampling: sampling() })).cached).toBe(0);
  });

  it("forgets what a step under way has spoilt after the caller has left", async () => {
    let steps = 0;
    const engine = new Engine(new FakeRunner({ trouble: () => (++steps === 3 ? "nan" : undefined) }));
    // Leaves at the first token, while two more steps are under way.
    const { error } = await collect(engine, { prompt: [1, 2], sampling: sampling({ stopIds: [] }) }, 2);
    expect(error).toBeUndefined();
    expect((await collect(engine, { prompt: [1, 2, 3], sampling: sampling() })).cached).toBe(0);
  });
});

/** Requests of a few conversations that are gone on with, edited, aborted, left, and met by errors. Gives tokens reused. */
async function manyRequests(seed: number): Promise<number> {
  const next = random(seed);
  const below = (n: number) => Math.floor(next() * n);
  const troubled = next() < 0.5;
  const runner = new FakeRunner({
    slots: 1 + below(4),
    delay: async () => {
      for (let k = below(3); k > 0; k--) await Promise.resolve();
      if (next() < 0.02) await new Promise((resolve) => setTimeout(resolve, 0));
    },
    trouble: () => {
      if (troubled && next() < 0.02) throw new Error("made up");
      return troubled && next() < 0.01 ? "nan" : undefined;
    },
  });
  const engine = new Engine(runner);
  const conversations: number[][] = [[]];
  let cachedInAll = 0;

  const request = async () => {
    const earlier = conversations.at(-1 - below(Math.min(4, conversations.length)))!;
    const kept = earlier.slice(0, next() < 0.6 ? earlier.length : below(earlier.length));
    const prompt = [...kept, ...Array.from({ length: 1 + below(5) }, () => below(11))].slice(0, 40);
    const controller = new AbortController();
    if (next() < 0.2) void new Promise((resolve) => setTimeout(resolve, 0)).then(() => controller.abort());
    const maxTokens = 1 + below(12);
    const boundary = next() < 0.7 ? 1 + below(prompt.length + 2) : undefined;
    const events = next() < 0.3 ? 1 + below(8) : undefined;
    const reply = await collect(
      engine,
      { prompt, boundary, sampling: sampling({ maxTokens }), signal: controller.signal },
      events,
    );
    const expected = expectedReply(prompt, maxTokens);
    const isWhole = !reply.error && events === undefined && !controller.signal.aborted;
    expect(reply.tokens, `seed ${seed}`).toEqual(isWhole ? expected : expected.slice(0, reply.tokens.length));
    if (reply.error && !(reply.error instanceof NumericalError)) expect((reply.error as Error).message).toBe("made up");
    expect(reply.cached).toBeLessThan(prompt.length);
    conversations.push([...prompt, ...reply.tokens]);
    cachedInAll += reply.cached;
  };
  for (let round = 0; round < 12; round++) await Promise.all(Array.from({ length: 1 + below(3) }, request));
  expect(runner.running).toBe(0);
  return cachedInAll;
}
