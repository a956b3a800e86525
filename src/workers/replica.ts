import type { PortSource } from "../api/port.ts";
import { RemoteLLM } from "../api/remote-llm.ts";
import type { LoadOptions, LoadProgress, ModelInfo } from "../api/types.ts";
import type { EngineStats } from "../engine/engine.ts";
import { WorkerError } from "../errors.ts";
import type { WorkerHost, WorkerTimes } from "./worker-host.ts";

export type ReplicaState = "loading" | "live" | "dead";

export interface ReplicaOptions {
  readonly load: LoadOptions;
  readonly times: WorkerTimes;
  readonly onProgress: (progress: LoadProgress) => void;
  /** Told when the worker has ended or is there again, and why. */
  readonly onChange: (event: { readonly state: ReplicaState; readonly reason: string }) => void;
}

/** One worker and the model in it. A worker that ends, or that gives no sign of life, is started again. */
export class Replica {
  readonly label: string;
  /** Requests under way. */
  open = 0;
  restarts = 0;
  /** Links that were given to it. */
  links = 0;
  readonly #host: WorkerHost;
  readonly #source: PortSource;
  readonly #options: ReplicaOptions;
  #llm: RemoteLLM | undefined;
  #info: ModelInfo | undefined;
  #lastStats: EngineStats | undefined;
  #loading: AbortController | undefined;
  #liveSinceMs = 0;
  #failures = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isDisposed = false;
  /** Ends the worker that runs now. */
  #kill: (reason: string) => void = () => {};

  constructor(host: WorkerHost, source: PortSource, options: ReplicaOptions) {
    this.label = host.label;
    this.#host = host;
    this.#source = source;
    this.#options = options;
  }

  /** The model, while it can be asked. */
  get llm(): RemoteLLM | undefined {
    return this.#llm;
  }

  get state(): ReplicaState {
    return this.#llm ? "live" : this.#loading ? "loading" : "dead";
  }

  /** What was loaded last. */
  get info(): ModelInfo {
    return this.#info!;
  }

  /** @throws what loading the model in the worker throws */
  async load(signal?: AbortSignal): Promise<void> {
    const { load, onProgress } = this.#options;
    const worker = this.#host.start();
    const loading = new AbortController();
    this.#loading = loading;
    let hasEnded = false;
    const end = (reason: string) => {
      if (hasEnded) return;
      hasEnded = true;
      worker.terminate();
      this.#ended(reason);
    };
    worker.addEventListener("error", ({ message = "it ended" }) => end(message));
    this.#kill = end;
    try {
      const signals = [loading.signal, ...(signal ? [signal] : [])];
      const llm = await RemoteLLM.load(worker, this.#source, {
        ...load,
        device: { ...load.device, adapter: this.#host.adapter ?? load.device?.adapter },
        onProgress,
        signal: AbortSignal.any(signals),
      });
      this.#lastStats = await llm.stats();
      if (hasEnded) throw new WorkerError(`The process of ${this.label} ended as soon as the model was loaded.`);
      this.#llm = llm;
      this.#info = llm.info;
      this.#liveSinceMs = performance.now();
      void this.#watch(llm);
    } catch (error) {
      hasEnded = true;
      worker.terminate();
      throw error;
    } finally {
      if (this.#loading === loading) this.#loading = undefined;
    }
  }

  /** Ends the worker, which cannot be used as it is; another one takes its place. */
  replace(reason: string): void {
    this.#kill(reason);
  }

  /** Of the worker as it is now, or as it was when it was last heard. */
  async stats(): Promise<EngineStats | undefined> {
    if (this.#llm) await within(this.#llm.stats(), STATS_MS).then(this.#keepStats, () => {});
    return this.#lastStats;
  }

  async dispose(): Promise<void> {
    this.#isDisposed = true;
    clearTimeout(this.#timer);
    this.#loading?.abort(new DOMException("The model was disposed of.", "AbortError"));
    const llm = this.#llm;
    this.#llm = undefined;
    if (llm) await within(llm.dispose(), DISPOSE_MS).catch(() => {});
    this.#kill("disposed");
  }

  readonly #keepStats = (stats: EngineStats): void => {
    this.#lastStats = stats;
  };

  #ended(reason: string): void {
    const wasLive = this.#llm !== undefined;
    this.#llm = undefined;
    if (this.#isDisposed) return;
    if (!wasLive) return;
    if (performance.now() - this.#liveSinceMs > SETTLED_MS) this.#failures = 0;
    this.#options.onChange({ state: "dead", reason });
    this.#restartLater();
  }

  #restartLater(): void {
    const [first, most] = this.#options.times.restartMs;
    const delayMs = Math.min(first * 2 ** this.#failures++, most);
    this.#timer = setTimeout(() => void this.#restart(), delayMs);
    this.#timer.unref?.();
  }

  async #restart(): Promise<void> {
    if (this.#isDisposed) return;
    this.restarts++;
    try {
      await this.load();
      if (this.#llm) this.#options.onChange({ state: "live", reason: "it was started again" });
    } catch (error) {
      if (this.#isDisposed) return;
      this.#options.onChange({ state: "dead", reason: (error as Error).message });
      this.#restartLater();
    }
  }

  /** Ends a worker that does not answer, or whose device does not. */
  async #watch(llm: RemoteLLM): Promise<void> {
    const { silenceMs, stepMs } = this.#options.times;
    const marker = ({ steps, tokens, running }: EngineStats) =>
      running === 0 ? undefined : [steps.prefill, steps.decode, tokens.reply].join();
    let [last, sinceMs]: [string | undefined, number] = [undefined, 0];
    while (this.#llm === llm) {
      try {
        const stats = await within(llm.stats(), silenceMs);
        this.#keepStats(stats);
        const now = marker(stats);
        if (now === undefined || now !== last) [last, sinceMs] = [now, performance.now()];
        else if (performance.now() - sinceMs > stepMs) this.#kill(`no step was done for ${stepMs / 1000} s`);
      } catch {
        if (this.#llm === llm) this.#kill(`it gave no sign of life for ${silenceMs / 1000} s`);
      }
      await new Promise((resolve) => setTimeout(resolve, Math.min(silenceMs, stepMs) / 4).unref?.());
    }
  }
}

/** After which a worker's earlier failures are forgiven. */
const SETTLED_MS = 60_000;

const STATS_MS = 1000;

const DISPOSE_MS = 2000;

/** Fails when `work` takes longer. */
function within<T>(work: Promise<T>, timeMs: number): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing for ${timeMs} ms`)), timeMs);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}
