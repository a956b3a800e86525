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

/** Lets the made-up time pass. */
async function until(isDone: () => boolean): Promise<void> {
  while (!isDone()) await vi.advanceTimersToNextTimerAsync();
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
