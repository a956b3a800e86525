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
  #mask: Uint32Array | undefined;
  #drawn = 0;

  constructor(vocabulary: number, usable: number) {
    this.#counts = new Uint32Array(vocabulary);
    this.#usable = usable;
  }

  /** Sets the reply's parameters. `reply` is what has been drawn already. */
  set(sampling: ResolvedSampling, prompt: readonly number[], reply: readonly number[] = []): void {
    this.#sampling = sampling;
    this.#mask = undefined;
    this.#drawn = reply.length;
    this.#counts.fill(0);
    for (const id of prompt) this.#counts[id] = IN_PROMPT;
    for (const id of reply) this.#counts[id]++;
  }

  /** A bit for every token that may be drawn; undefined for all. */
  setMask(mask: Uint32Array | undefined): void {
    this.#mask = mask;
  }

  draw(logits: Float32Array): Omit<Sampled, "slot" | "position"> {
    const sampling = this.#sampling!;
    const processed = processLogits(logits.subarray(0, this.#usable), sampling, this.#counts);
    const mask = this.#mask;
    for (let id = 0; mask && id < processed.length; id++) if (!isSet(mask, id)) processed[id] = LOWEST;
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

/** What a token gets that may not be drawn: finite, so that no sum of shares becomes NaN. */
const LOWEST = -3e38;

const isSet = (mask: Uint32Array, id: number): boolean => ((mask[id >> 5] >>> (id & 31)) & 1) === 1;
