import type { LoadOptions, LoadProgress as Report, StoreReport } from "./types.ts";

const REPORT_MS = 50;

/** Reports bytes, phase and rate, at most some tens of times a second. */
export class LoadProgress {
  readonly #report: LoadOptions["onProgress"];
  #phase: Report["phase"] = "open";
  #store: StoreReport | undefined;
  #totalBytes = 0;
  #loadedBytes = 0;
  #startMs = performance.now();
  #lastMs = 0;

  constructor(report: LoadOptions["onProgress"]) {
    this.#report = report;
    this.report("open");
  }

  start(totalBytes: number): void {
    this.#totalBytes = totalBytes;
    this.#startMs = performance.now();
    this.report("weights", 0);
  }

  stored(report: StoreReport): void {
    this.#store = report;
    // What is stored after loading is not progress of loading any more.
    if (this.#phase !== "ready") this.report(this.#phase);
  }

  report(phase: Report["phase"], loadedBytes = this.#loadedBytes): void {
    const now = performance.now();
    const isNew = phase !== this.#phase;
    this.#phase = phase;
    const isFirst = phase === "weights" && this.#loadedBytes === 0;
    this.#loadedBytes = loadedBytes;
    if (!isNew && !isFirst && now - this.#lastMs < REPORT_MS) return;
    this.#lastMs = now;
    const seconds = (now - this.#startMs) / 1000;
    const bytesPerSecond = seconds > 0 ? loadedBytes / seconds : 0;
    const totalBytes = this.#totalBytes;
    const secondsLeft = loadedBytes > 0 ? (totalBytes - loadedBytes) / bytesPerSecond : undefined;
    this.#report?.({ phase, loadedBytes, totalBytes, bytesPerSecond, secondsLeft, store: this.#store });
  }
}
