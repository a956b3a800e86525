import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { EncodedRecord } from "../weights/packed/write-pack.ts";
import type { PackTask } from "./pack-task.ts";

const script = fileURLToPath(new URL("./pack-worker.js", import.meta.url));

/** Threads that each read the model and encode records of it. */
export class PackThreads {
  readonly #workers: readonly Worker[];
  /** For each thread, what it does now and after. */
  readonly #last: Promise<unknown>[];
  readonly #alone: (record: number) => Promise<EncodedRecord>;
  #turn = 0;

  /** @param alone encodes what a thread cannot, or says why it cannot be */
  constructor(task: PackTask, count: number, alone: (record: number) => Promise<EncodedRecord>) {
    this.#workers = Array.from({ length: count }, () => new Worker(script, { workerData: task }));
    // It ends then, which whoever waits for it is told.
    for (const worker of this.#workers) worker.on("error", () => {});
    this.#last = this.#workers.map(() => Promise.resolve());
    this.#alone = alone;
  }

  get count(): number {
    return this.#workers.length;
  }

  /** Threads take records in turn, which are much alike. */
  encode(record: number): Promise<EncodedRecord> {
    const i = this.#turn++ % this.#workers.length;
    const encoded = this.#last[i]
      .then(() => ask(this.#workers[i], record))
      .then((bytes) => bytes ?? this.#alone(record));
    this.#last[i] = encoded.catch(() => {});
    return encoded;
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

/** What a thread answers; undefined where it failed or has ended. */
const ask = (worker: Worker, record: number): Promise<EncodedRecord | undefined> =>
  new Promise((resolve) => {
    const settle = (encoded?: EncodedRecord) => {
      worker.off("message", settle).off("exit", end);
      resolve(encoded);
    };
    const end = () => settle();
    worker.on("message", settle).on("exit", end);
    if (worker.threadId === -1) end();
    else worker.postMessage(record);
  });
