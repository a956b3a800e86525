import type { ModelWorker } from "../api/remote-llm.ts";

/** Where a worker runs: it can be started again and again. */
export interface WorkerHost {
  /** What a person calls it: "GPU 0, NVIDIA H200, 0000:19:00.0". */
  readonly label: string;
  /** The adapter it opens, where it sees several. */
  readonly adapter?: string;
  start(): ModelWorker;
}

/** What is allowed to take how long, in milliseconds. */
export interface WorkerTimes {
  /** Between two signs of life of a worker. */
  readonly silenceMs: number;
  /** Between two steps of a worker that has something to do. The first of a kind compiles its kernels. */
  readonly stepMs: number;
  /** How long a request waits where no worker is left, before it fails. */
  readonly waitMs: number;
  /** Before a worker is started again: the first time, and at most; it doubles from one to the next. */
  readonly restartMs: readonly [first: number, most: number];
}

export const WORKER_TIMES: WorkerTimes = {
  silenceMs: 10_000,
  stepMs: 60_000,
  waitMs: 4000,
  restartMs: [100, 30_000],
};
