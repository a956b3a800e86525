import { generation } from "../api/generation.ts";
import type { Generation, LanguageModel, ModelStats } from "../api/llm-interface.ts";
import type { ModelHost } from "../api/model-host.ts";
import type { PortSource } from "../api/port.ts";
import type { RemoteLLM } from "../api/remote-llm.ts";
import type {
  ChatMessage,
  ChatParams,
  GenerateParams,
  GenerationEvent,
  LoadOptions,
  LoadProgress,
  MemoryPlan,
  ModelInfo,
  RenderParams,
  ScoredToken,
  ScoreParams,
} from "../api/types.ts";
import { DeviceLostError, LLMError, WorkerError, WorkerLostError } from "../errors.ts";
import { PrefixIndex, prefixBlocks } from "./prefix-index.ts";
import { remoteHost } from "./remote-host.ts";
import { Replica } from "./replica.ts";
import { sumStats } from "./sum-stats.ts";
import { WORKER_TIMES, type WorkerHost, type WorkerTimes } from "./worker-host.ts";

export interface PoolOptions extends LoadOptions {
  readonly times?: Partial<WorkerTimes>;
  /** Told when a worker has ended, and when it is there again. */
  readonly onChange?: (label: string, event: { readonly state: string; readonly reason: string }) => void;
}

/**
 * Whole models in several workers, one a GPU. A request goes to the worker that has read the longest beginning of it,
 * unless that is busy with all it can do at once; else to the one with least to do. A worker that ends is started again,
 * and its requests are asked of another where nothing of their replies was given away.
 */
export class GpuPool implements LanguageModel {
  readonly #replicas: readonly Replica[];
  readonly #prefixes: PrefixIndex;
  readonly #times: WorkerTimes;
  /** Requests that wait for a worker to be there. */
  readonly #waiting: Set<() => void>;
  #isDisposed = false;
  readonly #hosts = new WeakMap<ModelHost, RemoteLLM>();

  private constructor(
    replicas: readonly Replica[],
    prefixes: PrefixIndex,
    waiting: Set<() => void>,
    times: WorkerTimes,
  ) {
    this.#waiting = waiting;
    this.#replicas = replicas;
    this.#prefixes = prefixes;
    this.#times = times;
  }

  /**
   * Loads the model in all workers at once.
   *
   * @throws what `LocalLLM.load` throws, of the first that fails; then all are ended
   */
  static async load(hosts: readonly WorkerHost[], source: PortSource, options: PoolOptions = {}): Promise<GpuPool> {
    const { times: given, onChange, onProgress, signal, ...load } = options;
    const times = { ...WORKER_TIMES, ...given };
    const progress = new JoinedProgress(hosts.length, onProgress);
    const prefixes = new PrefixIndex(hosts.length, REMEMBERED_BLOCKS);
    const waiting = new Set<() => void>();
    const replicas = hosts.map(
      (host, i) =>
        new Replica(host, source, {
          load,
          times,
          onProgress: (one) => progress.report(i, one),
          onChange: (event) => {
            prefixes.forget(i);
            onChange?.(host.label, event);
            for (const wake of [...waiting]) wake();
          },
        }),
    );
    const stop = new AbortController();
    const signals = AbortSignal.any([stop.signal, ...(signal ? [signal] : [])]);
    const loading = replicas.map((replica) => replica.load(signals));
    try {
      await Promise.all(loading);
    } catch (error) {
      stop.abort();
      await Promise.allSettled(loading);
      await Promise.all(replicas.map((replica) => replica.dispose()));
      throw error;
    }
    return new GpuPool(replicas, prefixes, waiting, times);
  }

  /** Of all workers together: sequences, cache and memory are sums. */
  get info(): ModelInfo {
    const infos = this.#replicas.map(({ info }) => info);
    const sum = (of: (info: ModelInfo) => number) => infos.reduce((total, info) => total + of(info), 0);
    return {
      ...infos[0],
      maxSequences: sum(({ maxSequences }) => maxSequences),
      cacheTokens: sum(({ cacheTokens }) => cacheTokens),
      memory: sumPlans(infos.map(({ memory }) => memory)),
    };
  }

  /** What runs where. */
  get workers(): readonly { readonly label: string; readonly info: ModelInfo }[] {
    return this.#replicas.map(({ label, info }) => ({ label, info }));
  }

  chat(messages: readonly ChatMessage[], params: ChatParams = {}): Generation {
    const { tools, templateVariables, thinking } = params;
    const text = JSON.stringify([tools, templateVariables, thinking]) + messages.map((m) => JSON.stringify(m)).join("");
    return this.#generation(text, params.signal, (llm) => llm.chat(messages, params));
  }

  generate(prompt: string | readonly number[], params: GenerateParams = {}): Generation {
    return this.#generation(prompt, params.signal, (llm) => llm.generate(prompt, params));
  }

  tokenize(text: string): Promise<number[]> {
    return this.#ask((llm) => llm.tokenize(text));
  }

  detokenize(ids: readonly number[]): Promise<string> {
    return this.#ask((llm) => llm.detokenize(ids));
  }

  render(messages: readonly ChatMessage[], params?: RenderParams): Promise<string> {
    return this.#ask((llm) => llm.render(messages, params));
  }

  score(ids: readonly number[], params?: ScoreParams): Promise<ScoredToken[]> {
    return this.#ask((llm) => llm.score(ids, params), ids, params?.signal);
  }

  async stats(): Promise<ModelStats> {
    const workers = await Promise.all(
      this.#replicas.map(async (replica) => ({
        label: replica.label,
        isLive: replica.state === "live",
        restarts: replica.restarts,
        stats: await replica.stats(),
      })),
    );
    const known = workers.flatMap(({ stats, ...rest }) => (stats ? [{ ...rest, stats }] : []));
    return { ...sumStats(known.map(({ stats }) => stats)), workers: known };
  }

  /** For one link that leans on the model: it stays with `before` while the worker of that lives. */
  async host(before?: ModelHost): Promise<ModelHost> {
    const last = this.#replicas.find(({ llm }) => llm !== undefined && llm === this.#hosts.get(before!));
    if (last) return before!;
    const replica = await this.#enter([]);
    replica.open--;
    const host = await remoteHost(replica.llm!, replica);
    this.#hosts.set(host, replica.llm!);
    replica.links++;
    return host;
  }

  async clearCache(): Promise<void> {
    for (const i of this.#replicas.keys()) this.#prefixes.forget(i);
    await Promise.all(this.#replicas.map(({ llm }) => llm?.clearCache().catch(ignoreLoss)));
  }

  async dispose(): Promise<void> {
    this.#isDisposed = true;
    this.#wake();
    await Promise.all(this.#replicas.map((replica) => replica.dispose()));
  }

  #generation(
    prompt: string | readonly number[],
    signal: AbortSignal | undefined,
    start: (llm: RemoteLLM) => Generation,
  ): Generation {
    const events = async function* (this: GpuPool): AsyncGenerator<GenerationEvent, void, void> {
      const blocks = prefixBlocks(prompt);
      let hasBegun = false;
      for (let attempt = 1; ; attempt++) {
        const replica = await this.#enter(blocks, signal);
        try {
          for await (const event of start(replica.llm!)) {
            hasBegun ||= event.kind !== "prefill";
            yield event;
          }
          return;
        } catch (error) {
          if (!this.#isLoss(replica, error)) throw error;
          if (hasBegun || attempt === ATTEMPTS) throw new WorkerLostError(replica.label, hasBegun, { cause: error });
        } finally {
          replica.open--;
          this.#wake();
        }
      }
    };
    return generation(events.bind(this));
  }

  /** An answer that comes in one piece can be asked for again. */
  async #ask<T>(question: (llm: RemoteLLM) => Promise<T>, prompt: readonly number[] = [], signal?: AbortSignal) {
    for (let attempt = 1; ; attempt++) {
      const replica = await this.#enter(prefixBlocks(prompt), signal);
      try {
        return await question(replica.llm!);
      } catch (error) {
        if (!this.#isLoss(replica, error)) throw error;
        if (attempt === ATTEMPTS) throw new WorkerLostError(replica.label, false, { cause: error });
      } finally {
        replica.open--;
      }
    }
  }

  /** Whether a request failed because its worker did. One that lost its device is replaced as a whole. */
  #isLoss(replica: Replica, error: unknown): boolean {
    if (this.#isDisposed) return false;
    if (error instanceof DeviceLostError) replica.replace(error.message);
    return error instanceof WorkerError || error instanceof DeviceLostError;
  }

  /** The worker for a prompt, one request the busier; where none is there, the first that comes back in time. */
  async #enter(blocks: readonly number[], signal?: AbortSignal): Promise<Replica> {
    const deadline = performance.now() + this.#times.waitMs;
    for (;;) {
      if (this.#isDisposed) throw new LLMError("The model was disposed of.");
      const best = this.#best(blocks);
      if (best !== undefined) {
        this.#prefixes.add(best, blocks);
        this.#replicas[best].open++;
        return this.#replicas[best];
      }
      const leftMs = deadline - performance.now();
      if (leftMs <= 0) throw new WorkerLostError(this.#replicas.map(({ label }) => label).join("; "), false);
      await this.#change(leftMs, signal);
    }
  }

  #best(blocks: readonly number[]): number | undefined {
    const live = [...this.#replicas.keys()].filter((i) => this.#replicas[i].llm);
    const known = new Map(live.map((i) => [i, this.#prefixes.match(i, blocks)]));
    const load = (i: number) => this.#replicas[i].open / this.#replicas[i].info.maxSequences;
    const links = (i: number) => this.#replicas[i].links;
    const byLoad = live.toSorted((a, b) => load(a) - load(b) || known.get(b)! - known.get(a)! || links(a) - links(b));
    const holder = byLoad.toSorted((a, b) => known.get(b)! - known.get(a)!)[0];
    return holder !== undefined && known.get(holder)! > 0 && load(holder) < 1 ? holder : byLoad[0];
  }

  /** Until something changes, or the time is over. */
  async #change(timeMs: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        this.#waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeMs);
      signal?.addEventListener("abort", done);
      this.#waiting.add(done);
    });
    signal?.throwIfAborted();
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}

/** Of each worker, of 64 tokens: a few times what a large KV cache holds. */
const REMEMBERED_BLOCKS = 2 ** 17;

/** A request that ends three workers may well be why. */
const ATTEMPTS = 3;

function ignoreLoss(error: unknown): void {
  if (!(error instanceof WorkerError)) throw error;
}

function sumPlans(plans: readonly MemoryPlan[]): MemoryPlan {
  const total: Record<string, number> = {};
  for (const plan of plans) {
    for (const [part, bytes] of Object.entries(plan)) {
      if (typeof bytes === "number") total[part] = (total[part] ?? 0) + bytes;
    }
  }
  return { ...plans[0], ...total };
}

/** Several loadings as one: bytes are added up, and the phase is that of the slowest. */
class JoinedProgress {
  readonly #parts: (LoadProgress | undefined)[];
  readonly #report: LoadOptions["onProgress"];
  #isReady = false;

  constructor(count: number, report: LoadOptions["onProgress"]) {
    this.#parts = Array.from({ length: count }, () => undefined);
    this.#report = report;
  }

  report(index: number, progress: LoadProgress): void {
    // A worker that is started again loads in silence.
    if (this.#isReady) return;
    this.#parts[index] = progress;
    const parts = this.#parts.filter((part) => part !== undefined);
    const sum = (of: (part: LoadProgress) => number) => parts.reduce((total, part) => total + of(part), 0);
    const isWhole = parts.length === this.#parts.length;
    const phase = isWhole ? PHASES.find((phase) => parts.some((part) => part.phase === phase))! : parts[0].phase;
    this.#isReady = isWhole && phase === "ready";
    const totalBytes = sum((part) => part.totalBytes);
    const loadedBytes = sum((part) => part.loadedBytes);
    const bytesPerSecond = sum((part) => part.bytesPerSecond);
    const secondsLeft = loadedBytes > 0 ? (totalBytes - loadedBytes) / bytesPerSecond : undefined;
    this.#report?.({ ...progress, phase, loadedBytes, totalBytes, bytesPerSecond, secondsLeft });
  }
}

const PHASES = ["open", "weights", "compile", "ready"] as const;
