import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { LanguageModel, ModelStats } from "../api/llm-interface.ts";
import type { GenerationEvent } from "../api/types.ts";

/** What Prometheus reads, under vLLM's names, so that its dashboards, routers and scalers find what they look for. */
export class Metrics {
  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;
  readonly #registry = new Registry();
  readonly #llm: LanguageModel;
  readonly #labels: EngineLabels;
  readonly #waiting = this.#gauge("num_requests_waiting", "Replies that wait for their turn.");
  readonly #running = this.#gauge("num_requests_running", "Replies being read or written.");
  readonly #promptTokens = this.#counter("prompt_tokens_total", "Prompt tokens.");
  readonly #generationTokens = this.#counter("generation_tokens_total", "Generated tokens.");
  readonly #cacheUsage = this.#gauge("kv_cache_usage_perc", "Share of the KV cache that replies use, 0 to 1.");
  readonly #cacheQueries = this.#counter("prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.");
  readonly #cacheHits = this.#counter("prefix_cache_hits_total", "Prompt tokens found there.");
  readonly #hostUsage = this.#gauge("cpu_cache_usage_perc", "Share of host memory for states that is used, 0 to 1.");
  readonly #hostBytes = this.#gauge("cpu_cache_bytes", "Bytes of states there.");
  readonly #hostStates = this.#gauge("cpu_cache_states", "States there.");
  readonly #hostHits = this.#counter(
    "external_prefix_cache_hits_total",
    "Prompt tokens whose state came back from host memory.",
  );
  readonly #preemptions = this.#counter("num_preemptions_total", "Times that a reply gave up its state for another.");
  readonly #corrupted = this.#counter("corrupted_requests_total", "Replies read again: something was not a number.");
  readonly #cacheConfig = this.#gauge("cache_config_info", "How memory for states is laid out.", [
    "num_gpu_blocks",
    "max_model_len",
    "max_num_seqs",
    "cache_tokens",
  ]);
  readonly #workerUp = this.#gauge("worker_up", "Whether the process of a GPU answers.", ["worker"]);
  readonly #workerRestarts = this.#counter("worker_restarts_total", "Times that it was started again.", ["worker"]);
  readonly #thoughtsEnded = this.#counter(
    "reasoning_ended_total",
    "Thoughts that were ended: they repeated themselves, or their budget was spent.",
    ["reason"],
  );
  readonly #rejections = this.#counter("admission_rejections_total", "Requests turned away.", ["reason"]);
  readonly #success = this.#counter("request_success_total", "Replies that ended.", ["finished_reason"]);
  readonly #promptLength = this.#histogram("request_prompt_tokens", "Prompt tokens of a reply.", TOKENS);
  readonly #replyLength = this.#histogram("request_generation_tokens", "Generated tokens of a reply.", TOKENS);
  readonly #firstToken = this.#histogram(
    "time_to_first_token_seconds",
    "From the request to its first token.",
    SECONDS,
  );
  readonly #interToken = this.#histogram("inter_token_latency_seconds", "Between two tokens.", SHORT_SECONDS);
  readonly #endToEnd = this.#histogram("e2e_request_latency_seconds", "From the request to the end.", SECONDS);
  readonly #queue = this.#histogram("request_queue_time_seconds", "Waiting for a turn.", SECONDS);
  readonly #prefill = this.#histogram("request_prefill_time_seconds", "Reading the prompt.", SECONDS);
  readonly #decode = this.#histogram("request_decode_time_seconds", "From the first token to the last.", SECONDS);
  readonly #inference = this.#histogram("request_inference_time_seconds", "Reading and writing.", SECONDS);

  constructor(modelName: string, llm: LanguageModel) {
    this.#labels = { model_name: modelName, engine: "0" };
    this.#llm = llm;
    for (const gauge of [this.#waiting, this.#running]) gauge.set(this.#labels, 0);
    for (const counter of [this.#promptTokens, this.#generationTokens]) counter.inc(this.#labels, 0);
  }

  reject(reason: string): void {
    this.#rejections.inc({ ...this.#labels, reason });
  }

  /** Begins to follow one reply. */
  reply(): ReplyMetrics {
    const labels = this.#labels;
    const startMs = performance.now();
    let [admittedMs, firstMs, lastMs, promptTokens] = [0, 0, 0, 0];
    let hasEnded = false;
    const seconds = (from: number, to = performance.now()) => (to - from) / 1000;
    this.#waiting.inc(labels);
    return {
      admitted: (prompt) => {
        promptTokens = prompt;
        if (admittedMs > 0) return;
        admittedMs = performance.now();
        this.#waiting.dec(labels);
        this.#running.inc(labels);
        this.#queue.observe(labels, seconds(startMs));
      },
      tokens: (count) => {
        if (count === 0) return;
        const now = performance.now();
        if (firstMs === 0) {
          firstMs = now;
          this.#firstToken.observe(labels, seconds(startMs));
        } else for (let i = 0; i < count; i++) this.#interToken.observe(labels, (now - lastMs) / 1000 / count);
        lastMs = now;
        this.#generationTokens.inc(labels, count);
      },
      ended: (reason, finish) => {
        if (hasEnded) return;
        hasEnded = true;
        (admittedMs > 0 ? this.#running : this.#waiting).dec(labels);
        this.#success.inc({ ...labels, finished_reason: reason });
        if (finish?.thoughtsEndedBy) this.#thoughtsEnded.inc({ ...labels, reason: finish.thoughtsEndedBy });
        this.#endToEnd.observe(labels, seconds(startMs));
        this.#promptTokens.inc(labels, promptTokens);
        this.#promptLength.observe(labels, promptTokens);
        this.#replyLength.observe(labels, finish?.usage.completionTokens ?? 0);
        if (admittedMs > 0) this.#inference.observe(labels, seconds(admittedMs));
        if (firstMs === 0) return;
        this.#prefill.observe(labels, seconds(admittedMs, firstMs));
        this.#decode.observe(labels, seconds(firstMs));
      },
    };
  }

  /** All of it, as Prometheus reads it; what the engine counts is asked for now. */
  async text(): Promise<string> {
    const stats = await this.#llm.stats();
    const { maxContext, maxSequences, cacheTokens } = this.#llm.info;
    const facts = { max_model_len: maxContext, max_num_seqs: maxSequences, cache_tokens: cacheTokens };
    this.#cacheConfig.set({ ...this.#labels, ...facts, num_gpu_blocks: stats.blocks.total }, 1);
    const counted = [this.#cacheQueries, this.#cacheHits, this.#hostHits, this.#preemptions, this.#corrupted];
    for (const counter of [...counted, this.#workerRestarts]) counter.reset();
    if (!stats.workers) this.#engine(stats, this.#labels);
    for (const [i, worker] of (stats.workers ?? []).entries()) {
      const labels = { ...this.#labels, engine: String(i) };
      this.#engine(worker.stats, labels);
      this.#workerUp.set({ ...labels, worker: worker.label }, Number(worker.isLive));
      this.#workerRestarts.inc({ ...labels, worker: worker.label }, worker.restarts);
    }
    return this.#registry.metrics();
  }

  #engine({ blocks, cachedTokens, preempted, nanReplays, host }: ModelStats, labels: EngineLabels): void {
    this.#cacheUsage.set(labels, blocks.used / blocks.total);
    this.#cacheQueries.inc(labels, cachedTokens.queried);
    this.#cacheHits.inc(labels, cachedTokens.hit);
    this.#preemptions.inc(labels, preempted);
    this.#corrupted.inc(labels, nanReplays);
    if (!host) return;
    this.#hostUsage.set(labels, host.bytes / host.maxBytes);
    this.#hostBytes.set(labels, host.bytes);
    this.#hostStates.set(labels, host.copies);
    this.#hostHits.inc(labels, host.restoredTokens);
  }

  #options(name: string, help: string, more: readonly string[] = []) {
    return { name: `vllm:${name}`, help, labelNames: ["model_name", "engine", ...more], registers: [this.#registry] };
  }

  #gauge(name: string, help: string, labels?: readonly string[]) {
    return new Gauge(this.#options(name, help, labels));
  }

  #counter(name: string, help: string, labels?: readonly string[]) {
    return new Counter(this.#options(name, help, labels));
  }

  #histogram(name: string, help: string, buckets: number[]) {
    return new Histogram({ ...this.#options(name, help), buckets });
  }
}

/** What happens to one reply, in order. */
export interface ReplyMetrics {
  admitted(promptTokens: number): void;
  tokens(count: number): void;
  /** Once; what comes later does not count. */
  ended(reason: string, finish?: Extract<GenerationEvent, { kind: "finish" }>): void;
}

/** What is counted for the whole server has the number 0; what each worker counts, its own. */
type EngineLabels = { readonly model_name: string; readonly engine: string };

const SHORT_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2.5, 5, 10];
const SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560];
const TOKENS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6];
