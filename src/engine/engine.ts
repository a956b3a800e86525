import { ContextLengthError, InvalidRequestError, NumericalError } from "../errors.ts";
import { PrefixCache } from "./prefix-cache.ts";
import type { ResolvedSampling, Runner, Sampled } from "./runner.ts";
import { Turnstile } from "./turnstile.ts";

export interface EngineRequest {
  readonly prompt: readonly number[];
  /** `maxTokens` is cut to what the context leaves. */
  readonly sampling: ResolvedSampling;
  /** A length of the prompt at which later prompts are likely to part from it: the state there is kept. */
  readonly boundary?: number;
  /** Give the raw logits with each token. */
  readonly logits?: boolean;
  readonly signal?: AbortSignal;
}

export type EngineEvent =
  | { readonly kind: "prefill"; readonly done: number; readonly total: number; readonly cached: number }
  | { readonly kind: "token"; readonly sampled: Sampled };

/** Decode steps submitted before the first of them has answered, so that the device never waits for the host. */
const STEPS_IN_FLIGHT = 2;

const LIVE_SLOT = 0;

/** Turns requests into steps: one request at a time, going on from what the state already holds of its prompt. */
export class Engine {
  readonly #runner: Runner;
  readonly #cache: PrefixCache;
  readonly #turnstile = new Turnstile();
  /** One sequence owns all KV blocks. */
  readonly #blocks: readonly number[];

  constructor(runner: Runner) {
    this.#runner = runner;
    const { slots, blocks } = runner.limits;
    this.#cache = new PrefixCache(Array.from({ length: slots - 1 }, (_, i) => i + 1));
    this.#blocks = Array.from({ length: blocks }, (_, i) => i);
  }

  /**
   * Reads the prompt and draws tokens until one is the last. Ends early, without an error, when `signal` aborts or the
   * caller leaves; the state then still is what its tokens say.
   *
   * @throws ContextLengthError, InvalidRequestError for an empty prompt, NumericalError, DeviceLostError
   */
  async *generate(request: EngineRequest): AsyncGenerator<EngineEvent, void, void> {
    this.#check(request.prompt);
    let leave: () => void;
    try {
      leave = await this.#turnstile.enter(request.signal);
    } catch {
      return;
    }
    try {
      const first = yield* this.#prefill(request);
      if (first) yield* this.#decode(request, first);
    } catch (error) {
      this.#cache.clear();
      throw error;
    } finally {
      leave();
    }
  }

  /** Forgets what is known of earlier prompts, once requests under way have ended. */
  async clearCache(): Promise<void> {
    const leave = await this.#turnstile.enter();
    this.#cache.clear();
    leave();
  }

  /** The runner's device is gone, and every request fails. */
  get isLost(): boolean {
    return this.#runner.isLost;
  }

  dispose(): void {
    this.#runner.dispose();
  }

  #check(prompt: readonly number[]): void {
    const { maxContext, vocabularySize } = this.#runner.limits;
    if (prompt.length === 0) throw new InvalidRequestError("prompt", "it is empty; give at least one token.");
    if (prompt.length >= maxContext) throw new ContextLengthError(prompt.length, maxContext);
    const bad = prompt.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
    if (bad !== undefined) {
      throw new InvalidRequestError("prompt", `${bad} is not a token id; they go from 0 to ${vocabularySize - 1}.`);
    }
  }

  /** Reads what the state lacks of the prompt. Gives the first token, or nothing when aborted. */
  async *#prefill(request: EngineRequest): AsyncGenerator<EngineEvent, Sampled | undefined, void> {
    const { prompt, boundary, signal } = request;
    const { maxContext, maxBatchTokens } = this.#runner.limits;
    const cached = this.#resume(prompt);
    const total = prompt.length;
    const maxTokens = Math.min(request.sampling.maxTokens, maxContext - total);
    this.#runner.setSampling({ ...request.sampling, maxTokens }, prompt);

    let done = cached;
    while (!signal?.aborted) {
      yield { kind: "prefill", done, total, cached };
      if (signal?.aborted) return undefined;
      const stop = boundary !== undefined && done < boundary ? boundary : total;
      const end = Math.min(done + maxBatchTokens, stop, total);
      const tokens = prompt.slice(done, end);
      const step = { tokens, position: done, slot: LIVE_SLOT, blocks: this.#blocks };
      const sampled = await this.#runner.prefill(step, { sample: end === total, logits: request.logits });
      this.#cache.append(tokens);
      done = end;
      if (done === boundary) this.#keep();
      if (done === total) return sampled;
    }
    return undefined;
  }

  async *#decode(request: EngineRequest, first: Sampled): AsyncGenerator<EngineEvent, void, void> {
    const inFlight: Promise<Sampled | undefined>[] = [];
    let current = first;
    // A step that drew a token has read the one before it.
    const accept = (sampled: Sampled) => {
      this.#cache.append([current.token]);
      current = sampled;
    };
    try {
      for (;;) {
        while (!current.isLast && inFlight.length < STEPS_IN_FLIGHT) inFlight.push(this.#step(request));
        if (!current.isFinite) {
          throw new NumericalError(
            "The model computed something that is not a number. Try dtype f32; if it stays, the checkpoint is damaged.",
          );
        }
        yield { kind: "token", sampled: current };
        if (current.isLast || request.signal?.aborted) return;
        const next = await inFlight.shift();
        if (!next) return;
        accept(next);
      }
    } finally {
      // What was submitted runs to its end, and the state then holds it.
      const rest = await Promise.allSettled(inFlight);
      if (rest.some((step) => step.status === "rejected" || step.value?.isFinite === false)) this.#cache.clear();
      else for (const { value } of rest as PromiseFulfilledResult<Sampled | undefined>[]) if (value) accept(value);
    }
  }

  #step({ logits }: EngineRequest): Promise<Sampled | undefined> {
    const step = this.#runner.decode({ logits });
    // Failures are met where the step is awaited, which may be later.
    step.catch(() => {});
    return step;
  }

  /** Brings the state to the longest prefix of the prompt that it can have, and says how long that is. */
  #resume(prompt: readonly number[]): number {
    const { length, snapshot } = this.#cache.match(prompt);
    if (snapshot !== undefined) this.#runner.copyState(snapshot, LIVE_SLOT);
    this.#cache.cut(length);
    return length;
  }

  #keep(): void {
    const slot = this.#cache.snapshot();
    if (slot !== undefined) this.#runner.copyState(LIVE_SLOT, slot);
  }
}
