import type { ResolvedSampling, Sampled } from "../engine/runner.ts";
import { randomAt } from "./random.ts";
import { IN_PROMPT, processLogits, sampleToken } from "./sampling.ts";

/** Draws the tokens of one reply, and keeps count of them. */
export class ReferenceSampler {
  /** How often the reply holds each token; the top bit says that the prompt does. */
  readonly #counts: Uint32Array;
  /** Ids from here on are padding and never drawn. */
  readonly #usable: number;
  #sampling: ResolvedSampling | undefined;
  #drawn = 0;

  constructor(vocabulary: number, usable: number) {
    this.#counts = new Uint32Array(vocabulary);
    this.#usable = usable;
  }

  /** Sets the reply's parameters and forgets what was drawn before. */
  set(sampling: ResolvedSampling, prompt: readonly number[]): void {
    this.#sampling = sampling;
    this.#drawn = 0;
    this.#counts.fill(0);
    for (const id of prompt) this.#counts[id] = IN_PROMPT;
  }

  draw(logits: Float32Array): Sampled {
    const sampling = this.#sampling!;
    const processed = processLogits(logits.subarray(0, this.#usable), sampling, this.#counts);
    const token = sampleToken(processed, sampling, randomAt(sampling.seed, this.#drawn));
    this.#counts[token]++;
    this.#drawn++;
    return {
      token,
      isLast: sampling.stopIds.includes(token) || this.#drawn >= sampling.maxTokens,
      isFinite: logits.every(Number.isFinite),
    };
  }
}
