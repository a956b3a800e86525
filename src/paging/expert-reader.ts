import { convertRows } from "../weights/convert.ts";
import type { WeightFormat, WeightRows, WeightSource } from "../weights/format.ts";

/** One matrix of all experts of a layer, and how it lies on the device. */
export interface ExpertMatrix {
  readonly source: WeightSource;
  /** Rows of one expert. */
  readonly rows: number;
  readonly format: WeightFormat;
}

/** One expert as the device wants it: gate and up, then down. */
export type ExpertRows = readonly WeightRows[];

/** Reads under way at once. */
const READERS = 8;

/** The same of experts that nobody waits for yet: those of a step should find few before them. */
const READERS_AHEAD = 2;

interface Job {
  readonly layer: number;
  readonly expert: number;
  readonly promise: Promise<ExpertRows>;
  readonly start: () => void;
  isStarted: boolean;
}

/** Reads experts from their sources, some at a time: first those that a step waits for, then those that one may want. */
export class ExpertReader {
  readonly #layers: readonly (readonly ExpertMatrix[])[];
  readonly #jobs = new Map<string, Job>();
  #wanted: Job[] = [];
  #expected: Job[] = [];
  #running = 0;
  readonly #closed = new AbortController();

  constructor(layers: readonly (readonly ExpertMatrix[])[]) {
    this.#layers = layers;
  }

  /** Reads an expert before all that is merely expected. Fails as its source does. */
  read(layer: number, expert: number): Promise<ExpertRows> {
    const job = this.#job(layer, expert);
    if (!job.isStarted) {
      this.#expected = this.#expected.filter((other) => other !== job);
      if (!this.#wanted.includes(job)) this.#wanted.push(job);
    }
    this.#startNext();
    return job.promise;
  }

  /** Reads an expert when nobody waits for another. Undefined if others come to be expected before its turn. */
  expect(layer: number, experts: readonly number[], use: (expert: number, rows: ExpertRows) => void): void {
    for (const { layer, expert, isStarted } of this.#expected) if (!isStarted) this.#jobs.delete(key(layer, expert));
    this.#expected = [];
    for (const expert of experts) {
      if (this.#jobs.has(key(layer, expert))) continue;
      const job = this.#job(layer, expert);
      this.#expected.push(job);
      job.promise.then(
        (rows) => use(expert, rows),
        () => {},
      );
    }
    this.#startNext();
  }

  isReading(layer: number, expert: number): boolean {
    return this.#jobs.has(key(layer, expert));
  }

  close(): void {
    this.#wanted = [];
    this.#expected = [];
    this.#closed.abort();
  }

  #job(layer: number, expert: number): Job {
    const existing = this.#jobs.get(key(layer, expert));
    if (existing) return existing;
    let start = () => {};
    const promise = new Promise<void>((resolve) => {
      start = resolve;
    }).then(() => this.#load(layer, expert));
    promise
      .catch(() => {})
      .finally(() => {
        this.#running--;
        this.#jobs.delete(key(layer, expert));
        this.#startNext();
      });
    const job = { layer, expert, promise, start, isStarted: false };
    this.#jobs.set(key(layer, expert), job);
    return job;
  }

  #startNext(): void {
    while (this.#running < READERS) {
      const job = this.#wanted.shift() ?? (this.#running < READERS_AHEAD ? this.#expected.shift() : undefined);
      if (!job) return;
      this.#running++;
      job.isStarted = true;
      job.start();
    }
  }

  #load(layer: number, expert: number): Promise<ExpertRows> {
    return Promise.all(
      this.#layers[layer].map(async ({ source, rows, format }) => {
        const stored = await source.read(expert * rows, (expert + 1) * rows, this.#closed.signal);
        return convertRows(stored, format, source.label);
      }),
    );
  }
}

const key = (layer: number, expert: number): string => `${layer} ${expert}`;
