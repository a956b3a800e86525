import { InvalidRequestError } from "../errors.ts";
import { type Constraint, MaskTime } from "./constraint.ts";
import { LENGTH, MASK } from "./grammar-messages.ts";
import type { Structure } from "./structure.ts";

/** A mask that follows one which took longer is not waited for while others could go on. */
const QUICK_MS = 2;

/** What carries out a constraint's wishes. */
export interface ConstraintHost {
  /** Whether nothing else is being worked out where this constraint is. */
  isIdle(constraint: ThreadConstraint): boolean;
  /** Has tokens followed. Rejects where that takes longer than `limitMs`. */
  follow(constraint: ThreadConstraint, tokens: readonly number[], limitMs: number): Promise<{ readonly ms: number }>;
  close(constraint: ThreadConstraint): void;
}

/** A reply held to a grammar that another thread follows. */
export class ThreadConstraint implements Constraint {
  readonly id: number;
  readonly structure: Structure;
  readonly field: string;
  readonly shared: SharedArrayBuffer;
  /** All that the other thread has been told. */
  readonly tokens: number[] = [];
  readonly #words: Int32Array;
  readonly #host: ConstraintHost;
  readonly #time: MaskTime;
  #lastMs = 0;
  #pending: Promise<void> | undefined;

  constructor(
    host: ConstraintHost,
    options: { id: number; structure: Structure; field: string; vocabularySize: number },
  ) {
    this.#host = host;
    this.id = options.id;
    this.structure = options.structure;
    this.field = options.field;
    this.shared = new SharedArrayBuffer((MASK + Math.ceil(options.vocabularySize / 32)) * 4);
    this.#words = new Int32Array(this.shared);
    this.#time = new MaskTime(options.field);
  }

  /** The mask after so many tokens is there. */
  has(length: number): boolean {
    return Atomics.load(this.#words, LENGTH) === length + 1;
  }

  prepare(reply: readonly number[]): Promise<void> | undefined {
    const coming = reply.slice(this.tokens.length);
    if (coming.length === 0) return this.has(reply.length) ? undefined : this.#pending;
    if (this.#time.leftMs < 0) throw this.#time.error();
    const isQuick = this.#lastMs < QUICK_MS && this.#host.isIdle(this);
    this.tokens.push(...coming);
    const followed = this.#host.follow(this, coming, this.#time.leftMs);
    this.#pending = followed.then(({ ms }) => {
      this.#lastMs = ms;
      this.#time.spend(ms, coming.length);
    });
    // Who goes on at once finds out in `mask`.
    this.#pending.catch(() => {});
    return isQuick ? undefined : this.#pending;
  }

  mask(reply: readonly number[]): Uint32Array<ArrayBuffer> {
    void this.prepare(reply);
    const untilMs = performance.now() + this.#time.leftMs;
    while (!this.has(reply.length)) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) throw this.#time.error();
      Atomics.wait(this.#words, LENGTH, Atomics.load(this.#words, LENGTH), leftMs);
    }
    return new Uint32Array(this.#words.slice(MASK).buffer);
  }

  /** What is wrong where `follow` takes too long. */
  tooSlow(): InvalidRequestError {
    if (this.tokens.length > 0 || this.has(0)) return this.#time.error();
    return new InvalidRequestError(this.field, "it takes too long to make a grammar of it; write it more simply.");
  }

  dispose(): void {
    this.#host.close(this);
  }
}
