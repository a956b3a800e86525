import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import { FakeRunner, VOCABULARY } from "../support/fake-runner.ts";
import { GREEDY } from "../support/greedy.ts";

/** Milliseconds of steps on some device; the clock is made up, and exact. */
interface Times {
  readonly prefill: (rows: number) => number;
  readonly decode: number;
  /** Of a decode step after a prefill. */
  readonly next?: number;
}

/** SLUICE_SOAK=1 reads all of 100,000 tokens. */
const LONG = process.env.SLUICE_SOAK ? 100_000 : 10_000;

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "setTimeout"] }));
afterEach(() => void vi.useRealTimers());

it.each<[string, Times]>([
  ["a GPU, whose small steps cost as much as larger ones", { prefill: (n) => 12 + 0.1 * n, decode: 25 }],
  ["a device quick to read", { prefill: (n) => 2 + 0.05 * n, decode: 10 }],
  ["a CPU, whose rows cost the same each", { prefill: (n) => 1 + n, decode: 100 }],
  ["a CPU whose caches a prompt takes over", { prefill: (n) => 1 + n, decode: 50, next: 70 }],
])("a long prompt at most doubles the time between others' tokens on %s", async (_, times) => {
  const streams = 8;
  let isAfterPrefill = false;
  const runner = new FakeRunner({
    ...{ maxContext: LONG + 16, maxBatchTokens: 512, maxSequences: streams + 1, blocks: LONG / 4 + 8 * 2000 },
    delay: (kind, rows) => {
      const decode = isAfterPrefill ? (times.next ?? times.decode) : times.decode;
      isAfterPrefill = kind === "prefill";
      return new Promise((resolve) => setTimeout(resolve, isAfterPrefill ? times.prefill(rows) : decode));
    },
  });
  const engine = new Engine(runner);
  const controller = new AbortController();
  const { signal } = controller;
  const drawn: number[][] = Array.from({ length: streams }, () => []);
  const replies = drawn.map(async (moments, i) => {
    const sampling = { ...GREEDY, stopIds: [], maxTokens: 5000 };
    for await (const event of engine.generate({ prompt: [i, 5, 7], sampling, signal })) {
      if (event.kind === "token") moments.push(performance.now());
    }
  });
  await until(() => drawn[0].length >= 100);
  const begun = performance.now();
  let firstTokenMs: number | undefined;
  const long = (async () => {
    const prompt = Array.from({ length: LONG }, (_, i) => i % VOCABULARY);
    for await (const event of engine.generate({ prompt, sampling: { ...GREEDY, maxTokens: 1 } })) {
      if (event.kind === "token") firstTokenMs = performance.now();
    }
  })();
  await until(() => firstTokenMs !== undefined);
  controller.abort();
  await Promise.all([long, ...replies]);
  const gaps = (moments: readonly number[], from: number, to: number) =>
    moments.slice(1).flatMap((at, i) => (at >= from && at <= to ? [at - moments[i]] : []));
  const quiet = drawn.flatMap((moments) => gaps(moments, moments[20], begun));
  const beside = drawn.flatMap((moments) => gaps(moments, begun, firstTokenMs!));
  expect(mean(quiet)).toBeCloseTo(times.decode);
  expect(mean(beside) / mean(quiet)).toBeLessThan(1.9);
  // No more than one step of the prompt comes between two tokens, and it takes no longer than a few.
  expect(Math.max(...beside) / mean(quiet)).toBeLessThan(3);
  expect(beside.length).toBeGreaterThan(streams * 50);
});

it("a burst of short prompts beside a reply takes at most three times as long as alone", async () => {
  const alone = await burst(1, false);
  expect((await burst(900, true)) / alone).toBeLessThan(3);
  // Steps of a few tokens have been seen before, and are quicker than any chunk.
  expect((await burst(900, true, [6, 7])) / alone).toBeLessThan(3);
});

/** Milliseconds until 31 prompts have their first tokens, on a GPU whose small steps cost nearly as much as larger ones. */
async function burst(maxTokens: number, besideReply: boolean, before?: readonly number[]): Promise<number> {
  const count = 31;
  const prefillMs = (rows: number) => (rows < 16 ? 8 : 25 + 0.12 * rows);
  const runner = new FakeRunner({
    ...{ maxContext: 1024, maxBatchTokens: 512, maxSequences: count + 1, blocks: 32 * 256 },
    delay: (kind, rows) => new Promise((resolve) => setTimeout(resolve, kind === "decode" ? 7 : prefillMs(rows))),
  });
  const engine = new Engine(runner);
  const controller = new AbortController();
  const ask = async (prompt: readonly number[], most: number, onToken: () => void) => {
    const sampling = { ...GREEDY, stopIds: [], maxTokens: most };
    for await (const { kind } of engine.generate({ prompt, sampling, signal: controller.signal })) {
      if (kind === "token") onToken();
    }
  };
  let isRead = before === undefined;
  const first = before && ask(before, 1, () => (isRead = true));
  await until(() => isRead);
  let drawn = 0;
  const reply = besideReply && ask([5], 900, () => drawn++);
  await until(() => drawn >= (besideReply ? 50 : 0));
  const begun = performance.now();
  const begins = new Set<number>();
  const others = Array.from({ length: count }, (_, i) => {
    const prompt = Array.from({ length: 64 }, (_, p) => (i + p) % VOCABULARY);
    return ask(prompt, maxTokens, () => begins.add(i));
  });
  await until(() => begins.size === count);
  const ms = performance.now() - begun;
  controller.abort();
  await Promise.all([first, reply, ...others]);
  return ms;
}

/** Lets the made-up time pass. */
async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) await vi.advanceTimersToNextTimerAsync();
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
