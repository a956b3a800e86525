import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { ToPage, ToWorker } from "../../src/api/port.ts";
import type { ModelWorker } from "../../src/api/remote-llm.ts";
import type { ModelInfo } from "../../src/api/types.ts";
import type { EngineStats } from "../../src/engine/engine.ts";
import { Replica } from "../../src/workers/replica.ts";
import { WORKER_TIMES } from "../../src/workers/worker-host.ts";

const IDLE: EngineStats = {
  ...{ running: 0, waiting: 0, waitingTokens: 0, preempted: 0, snapshots: 0, nanReplays: 0 },
  blocks: { used: 0, cached: 0, total: 1 },
  cachedTokens: { hit: 0, queried: 0 },
  steps: { prefill: 0, decode: 0 },
  tokens: { prompt: 0, reply: 0 },
};

/** A worker that loads at once and says of itself what it is told to say. */
class TalkingWorker implements ModelWorker {
  readonly #listeners: ((event: { readonly data: ToPage }) => void)[] = [];
  readonly #stats: () => EngineStats;
  isTerminated = false;

  constructor(stats: () => EngineStats) {
    this.#stats = stats;
  }

  postMessage({ kind, id }: ToWorker): void {
    if (kind === "load") this.#tell({ kind: "info", id, info: {} as ModelInfo });
    this.#tell({ kind: "done", id, value: kind === "stats" ? this.#stats() : undefined });
  }

  // biome-ignore lint/suspicious/noExplicitAny: one implementation of both overloads
  addEventListener(type: "message" | "error" | "messageerror", listener: (event: any) => void): void {
    if (type === "message") this.#listeners.push(listener);
  }

  terminate(): void {
    this.isTerminated = true;
  }

  #tell(data: ToPage): void {
    setTimeout(() => {
      for (const listener of this.#listeners) listener({ data });
    });
  }
}

beforeEach(() => void vi.useFakeTimers({ toFake: ["performance", "setTimeout", "clearTimeout"] }));
afterEach(() => void vi.useRealTimers());

/** What becomes of a worker within some half a second, of a clock that is made up. */
async function watch(stats: () => EngineStats): Promise<{ readonly starts: number; readonly reasons: string[] }> {
  const workers: TalkingWorker[] = [];
  const start = () => {
    workers.push(new TalkingWorker(stats));
    return workers.at(-1)!;
  };
  const reasons: string[] = [];
  const replica = new Replica({ label: "GPU 0", start }, "model", {
    load: {},
    times: { ...WORKER_TIMES, stepMs: 200, restartMs: [1, 1] },
    onProgress: () => {},
    onChange: ({ reason }) => reasons.push(reason),
  });
  const loading = replica.load();
  await vi.advanceTimersByTimeAsync(600);
  await loading;
  const disposed = replica.dispose();
  await vi.advanceTimersByTimeAsync(10);
  await disposed;
  expect(workers.every(({ isTerminated }) => isTerminated)).toBe(true);
  return { starts: workers.length, reasons };
}

test("a worker that answers, but whose device does no step, is replaced", async () => {
  const { starts, reasons } = await watch(() => ({ ...IDLE, running: 1 }));
  expect(reasons.slice(0, 2)).toEqual(["no step was done for 0.2 s", "it was started again"]);
  expect(starts).toBeGreaterThan(1);
});

test("one that does steps, or has nothing to do, is left alone", async () => {
  let decode = 0;
  expect(await watch(() => ({ ...IDLE, running: 1, steps: { prefill: 1, decode: decode++ } }))).toEqual({
    starts: 1,
    reasons: [],
  });
  expect((await watch(() => IDLE)).starts).toBe(1);
});
