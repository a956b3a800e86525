import type { Context } from "hono";
import type { LanguageModel } from "../api/llm-interface.ts";
import { ApiKeys } from "./api-keys.ts";
import { Gate } from "./gate.ts";
import { HttpError, invalid, toHttpError } from "./http-error.ts";
import { type Choice, Job, type JobOptions } from "./job.ts";
import { Metrics } from "./metrics.ts";
import { ModelNames } from "./model-names.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Env } from "./respond.ts";

export type ServiceState = "loading" | "ready" | "failed" | "draining";

/** What all routes share: the model, once it is there, and who may use it. */
export class Service {
  readonly options: ResolvedOptions;
  readonly keys: ApiKeys;
  readonly gate: Gate;
  readonly startedAt = Math.floor(Date.now() / 1000);
  readonly #loading: Promise<void>;
  readonly #jobs = new Set<Job>();
  #loaded: { llm: LanguageModel; names: ModelNames; metrics: Metrics } | undefined;
  #state: ServiceState = "loading";
  #failure: unknown;

  constructor(llm: LanguageModel | Promise<LanguageModel>, options: ResolvedOptions) {
    this.options = options;
    this.keys = new ApiKeys(options.apiKeys);
    this.gate = new Gate(options);
    this.#loading = this.#load(llm);
    // Who awaits `ready` meets the failure, and so does every request.
    this.#loading.catch(() => {});
  }

  get state(): ServiceState {
    return this.#state;
  }

  /** Settles when the model can answer. Fails with what its loading failed with. */
  ready(): Promise<void> {
    return this.#loading;
  }

  /** The model. Fails with 503 while there is none. */
  get llm(): LanguageModel {
    this.check();
    return this.#parts.llm;
  }

  get names(): ModelNames {
    return this.#parts.names;
  }

  get metrics(): Metrics {
    return this.#parts.metrics;
  }

  /** Fails with 503 unless requests are taken. */
  check(): void {
    if (this.#state === "ready") return;
    const message = {
      loading: "The model is being loaded. Try again soon.",
      draining: "The server shuts down and takes no further requests.",
      failed: `The model could not be loaded: ${this.#failure instanceof Error ? this.#failure.message : this.#failure}`,
    }[this.#state];
    throw unavailable(message, this.#state, this.options.retryAfterSeconds);
  }

  /** Fails with 400 where one request wants too many replies: to be asked before anything is made for each. */
  checkCount(replies: number): void {
    const { maxChoices } = this.options;
    if (replies > maxChoices)
      throw invalid("n", `${replies} replies are too many for one request; ask for ${maxChoices}.`);
  }

  /** Begins the replies to a request. */
  start(choices: readonly Choice[], c: Context<Env>, options: JobOptions = {}): Job {
    this.check();
    const recorder = c.get("recorder");
    const job: Job = new Job(choices, {
      ...options,
      enter: () => {
        const leave = this.#enter(job, c.get("client"), choices.length);
        const end = recorder.begin();
        return () => {
          leave();
          end();
        };
      },
      follow: () => [this.metrics.reply(), recorder.reply()],
      signal: c.req.raw.signal,
    });
    return job;
  }

  /** Takes no further requests, and waits until those under way have ended; after `timeoutMs` they are stopped. */
  async drain(timeoutMs: number): Promise<void> {
    this.#state = "draining";
    const timer = setTimeout(() => {
      for (const job of this.#jobs) job.abort();
    }, timeoutMs);
    await this.gate.empty();
    clearTimeout(timer);
  }

  #enter(job: Job, client: string, count: number): () => void {
    try {
      const leave = this.gate.enter(client, count);
      this.#jobs.add(job);
      return () => {
        this.#jobs.delete(job);
        leave();
      };
    } catch (error) {
      this.metrics.reject(toHttpError(error).facts.code);
      throw error;
    }
  }

  get #parts() {
    if (!this.#loaded) this.check();
    return this.#loaded!;
  }

  async #load(pending: LanguageModel | Promise<LanguageModel>): Promise<void> {
    const { servedModelNames, strictModel, rehearse } = this.options;
    try {
      const llm = await pending;
      const names = new ModelNames(llm.info.label, servedModelNames, strictModel);
      this.#loaded = { llm, names, metrics: new Metrics(names.first, llm) };
      if (rehearse) await rehearseLongestStep(llm);
      if (this.#state === "loading") this.#state = "ready";
    } catch (error) {
      this.#state = "failed";
      this.#failure = error;
      throw error;
    }
  }
}

/** A server that says it is ready has memory for the longest step, and its kernels are compiled. */
async function rehearseLongestStep(llm: LanguageModel): Promise<void> {
  const { maxContext, maxBatchTokens, vocabulary } = llm.info;
  const length = Math.min(maxBatchTokens, maxContext - 1);
  const prompt = Array.from({ length }, (_, i) => (i * 7919) % Math.min(vocabulary, 1000));
  await llm.generate(prompt, { maxTokens: 2, ignoreEos: true }).finish();
  await llm.clearCache();
}

const unavailable = (message: string, code: string, retryAfterSeconds: number): HttpError =>
  new HttpError(message, {
    status: 503,
    code,
    type: code === "failed" ? "server_error" : "overloaded_error",
    headers: { "Retry-After": String(retryAfterSeconds) },
  });
