import { expect } from "vitest";
import type { ResolvedSampling, Runner, Sampled, SequenceStep } from "../../src/engine/runner.ts";

export interface FakeRunnerOptions {
  /** Called before every step; throws or gives "nan" to make it fail. */
  readonly trouble?: () => "nan" | undefined;
  /** Resolves when a step may run. */
  readonly delay?: () => Promise<void>;
  readonly maxContext?: number;
  readonly maxBatchTokens?: number;
  readonly slots?: number;
}

const BLOCK_TOKENS = 4;

/**
 * A runner whose states are lists of the tokens they have read. The token it draws depends on all of them, so that a
 * reply is right only if the state was; and it checks at every step that the state is what the step says.
 */
export class FakeRunner implements Runner {
  readonly limits;
  readonly isLost = false;
  readonly #options: FakeRunnerOptions;
  readonly #states: number[][];
  #kv: number[] = [];
  #sampling: ResolvedSampling | undefined;
  /** Token to read next; undefined once the reply has ended. */
  #pending: number | undefined;
  #drawn = 0;
  #last: Promise<unknown> = Promise.resolve();
  /** Tokens read by prefills. */
  prefilled = 0;
  /** Decode steps that found their reply ended. */
  idleSteps = 0;
  running = 0;

  constructor(options: FakeRunnerOptions = {}) {
    const { maxContext = 64, maxBatchTokens = 5, slots = 3 } = options;
    const blocks = Math.ceil(maxContext / BLOCK_TOKENS);
    this.#options = options;
    this.limits = { maxContext, maxBatchTokens, slots, blockTokens: BLOCK_TOKENS, blocks, vocabularySize: VOCABULARY };
    this.#states = Array.from({ length: slots }, () => [-1]);
  }

  setSampling(sampling: ResolvedSampling): void {
    this.#later(() => {
      this.#sampling = sampling;
      this.#drawn = 0;
    });
  }

  prefill(step: SequenceStep, { sample }: { sample: boolean }): Promise<Sampled | undefined> {
    return this.#later(async () => {
      const tokens = Array.from(step.tokens);
      expect(tokens.length).toBeGreaterThan(0);
      expect(tokens.length).toBeLessThanOrEqual(this.limits.maxBatchTokens);
      expect(step.blocks.length * BLOCK_TOKENS).toBeGreaterThanOrEqual(step.position + tokens.length);
      this.#pending = undefined;
      const isSound = await this.#run(tokens, step.position);
      this.prefilled += tokens.length;
      return sample ? this.#draw(isSound) : undefined;
    });
  }

  decode(): Promise<Sampled | undefined> {
    return this.#later(async () => {
      if (this.#pending === undefined) {
        this.idleSteps++;
        return undefined;
      }
      return this.#draw(await this.#run([this.#pending], this.#kv.length));
    });
  }

  copyState(from: number, to: number): void {
    this.#later(() => {
      this.#states[to] = [...this.#states[from]];
    });
  }

  dispose(): void {}

  async #run(tokens: readonly number[], position: number): Promise<boolean> {
    await this.#options.delay?.();
    let trouble: "nan" | undefined;
    try {
      trouble = this.#options.trouble?.();
    } catch (error) {
      // Nobody knows how far it came.
      this.#states[0] = [-1];
      this.#kv = [-1];
      this.#pending = undefined;
      throw error;
    }
    if (position === 0) this.#states[0] = [];
    this.#kv.length = Math.min(this.#kv.length, position);
    expect(this.#states[0], "tokens that the recurrent state has read").toEqual(this.#kv);
    expect(this.#kv.length, "tokens before the step").toBe(position);
    this.#states[0] = [...this.#states[0], ...tokens];
    this.#kv.push(...tokens);
    expect(this.#kv.length).toBeLessThanOrEqual(this.limits.maxContext);
    return trouble !== "nan";
  }

  #draw(isSound: boolean): Sampled {
    const { stopIds, maxTokens } = this.#sampling!;
    const token = nextToken(this.#states[0]);
    const isLast = stopIds.includes(token) || ++this.#drawn >= maxTokens;
    this.#pending = isLast ? undefined : token;
    return { token, isLast, isFinite: isSound };
  }

  /** Steps run in the order of their calls. */
  #later<T>(action: () => T | Promise<T>): Promise<T> {
    this.running++;
    const done = this.#last.then(action).finally(() => this.running--);
    this.#last = done.catch(() => {});
    return done;
  }
}

const VOCABULARY = 11;

/** What comes after `tokens`. */
export function nextToken(tokens: readonly number[]): number {
  let hash = 7;
  for (const token of tokens) hash = (Math.imul(hash, 31) + token + 1) >>> 0;
  return ((hash ^ (hash >>> 7)) >>> 0) % VOCABULARY;
}
