import type { CompanionStats, PagingStats } from "../api/types.ts";
import { ContextLengthError, InvalidRequestError, invariant, NumericalError } from "../errors.ts";
import { Pace } from "./pace.ts";
import {
  type DecodeRow,
  type ResolvedSampling,
  type Runner,
  type Sampled,
  type SequenceStep,
  StatesLost,
} from "./runner.ts";
import { type QueueLimits, Scheduler } from "./scheduler.ts";
import { Sequence } from "./sequence.ts";
import { SequenceStates } from "./sequence-states.ts";

export interface EngineRequest {
  readonly prompt: readonly number[];
  /** What the reply begins with, drawn before or given: the rest is drawn as if it followed its own tokens. */
  readonly reply?: readonly number[];
  /** `maxTokens` counts all of the reply, and is cut to what the context leaves. */
  readonly sampling: ResolvedSampling;
  /** Lengths of the prompt, ascending, at which later prompts are likely to part from it: the state there is kept. */
  readonly boundaries?: readonly number[];
  /** Give the raw logits with each token. */
  readonly logits?: boolean;
  /**
   * Which tokens may come after the reply so far: a bit for each, the lowest of the first word for id 0; undefined for
   * all. It is asked before each draw, while the device computes the logits. Such a reply cannot be drawn ahead.
   */
  readonly mask?: (reply: readonly number[]) => Uint32Array<ArrayBuffer> | undefined;
  /** Told of the reply so far as soon as that is known. Where it gives a promise the draw waits for that, and nobody else. */
  readonly prepareMask?: (reply: readonly number[]) => Promise<void> | undefined;
  /**
   * Called with the raw logits [V] after each token of the prompt, in order and once for each; nothing is drawn then. They
   * are gone when it returns. The others wait for it, too.
   */
  readonly score?: (logits: Float32Array, position: number) => void;
  readonly signal?: AbortSignal;
}

export type EngineEvent =
  | { readonly kind: "prefill"; readonly done: number; readonly total: number; readonly cached: number }
  | { readonly kind: "token"; readonly sampled: Sampled };

/** How much is going on, and counts since the start. */
export interface EngineStats {
  readonly running: number;
  readonly waiting: number;
  readonly waitingTokens: number;
  /** Times that a request had to give up its state for another one. */
  readonly preempted: number;
  /** KV blocks: `used` by requests, `cached` for later ones. */
  readonly blocks: { readonly used: number; readonly cached: number; readonly total: number };
  /** Recurrent states kept for later requests. */
  readonly snapshots: number;
  /** States that left the device, where there is room for them: their bytes, and the tokens whose state came back so far. */
  readonly host?: {
    readonly bytes: number;
    readonly maxBytes: number;
    readonly copies: number;
    readonly restoredTokens: number;
  };
  /** Prompt tokens whose state was there, of all. */
  readonly cachedTokens: { readonly hit: number; readonly queried: number };
  readonly steps: { readonly prefill: number; readonly decode: number };
  /** Tokens read in prefill steps, and drawn. */
  readonly tokens: { readonly prompt: number; readonly reply: number };
  /** Requests that were read again because something was not a number. */
  readonly nanReplays: number;
  /** The cache of experts, where the device holds some of them at a time. */
  readonly paging?: PagingStats;
  /** What was left to a companion. */
  readonly companion?: CompanionStats;
}

/** Steps submitted before the first of them has answered, so that the device never waits for the host. */
const STEPS_IN_FLIGHT = 2;

/** Browsers hand results over once in one or two milliseconds: of steps as short as that, one more for a reply that is alone. */
const SHORT_STEP_MS = 4;

/**
 * A reply with a mask is left out of steps that are submitted before its last token is known: it gets every other one
 * then. Others go on without it where they are so many times as many; else all wait, and each step has all of them.
 */
const AHEAD_OF_MASKED = 4;

const UNBOUNDED: QueueLimits = { maxWaiting: Number.POSITIVE_INFINITY, maxWaitingTokens: Number.POSITIVE_INFINITY };

interface Part {
  readonly sequence: Sequence;
  readonly epoch: number;
  /** Position of the last token that the step reads. */
  readonly last: number;
}

/** Of one part: what was drawn, or the logits [rows, V]. */
type Result = Sampled | Float32Array | undefined;

interface Step {
  readonly kind: "prefill" | "decode";
  readonly parts: readonly Part[];
  readonly rows: number;
  readonly results: Promise<readonly Result[]>;
  /** Submitted while a prompt was being read: when it is done says little of how long it takes. */
  readonly isBehind: boolean;
  /** How often the states had been lost. */
  readonly losses: number;
}

/**
 * Turns requests into steps, many requests in each: prompts in chunks, one token a step for each reply. What is drawn
 * depends on a request's tokens and seed, and not on its company.
 */
export class Engine {
  readonly #runner: Runner;
  readonly #states: SequenceStates;
  readonly #scheduler: Scheduler;
  readonly #pace: Pace;
  readonly #inFlight: Step[] = [];
  /** Rows of the step submitted last, if it was one of decoding: the next can go on from them ahead of its results. */
  #batch: readonly Part[] | undefined;
  #isRunning = false;
  #arrivals = 0;
  /** When the last step was done, or this one could begin. */
  #settledMs = 0;
  #losses = 0;
  /** Set while nothing can be done before a mask is there, or someone comes or leaves. */
  #wake: (() => void) | undefined;
  readonly #counts = { prefill: 0, decode: 0, prompt: 0, reply: 0, nanReplays: 0 };

  /** `hostBytes` of host memory take states that leave the device. */
  constructor(runner: Runner, queue: Partial<QueueLimits> = {}, hostBytes = 0) {
    this.#runner = runner;
    this.#pace = new Pace(runner.limits.maxBatchTokens);
    this.#states = new SequenceStates(runner, hostBytes, (tokens) => this.#pace.readMs(tokens));
    this.#scheduler = new Scheduler(this.#states, runner.limits, { ...UNBOUNDED, ...queue });
  }

  /**
   * Reads the prompt and draws tokens until one is the last. Ends early, without an error, when `signal` aborts or the
   * caller leaves.
   *
   * @throws ContextLengthError, InvalidRequestError for an empty prompt, QueueFullError, NumericalError, DeviceLostError
   */
  async *generate(request: EngineRequest): AsyncGenerator<EngineEvent, void, void> {
    this.#check([...request.prompt, ...(request.reply ?? [])]);
    const { signal } = request;
    if (signal?.aborted) return;
    const sequence = new Sequence(request, this.#arrivals++, this.#runner.limits.maxContext);
    this.#scheduler.enqueue(sequence);
    const leave = () => this.#leave(sequence);
    signal?.addEventListener("abort", leave);
    void this.#run();
    this.#wake?.();
    try {
      yield* sequence.events;
    } finally {
      signal?.removeEventListener("abort", leave);
      leave();
    }
  }

  stats(): EngineStats {
    const { running, waiting, preempted } = this.#scheduler;
    const { prefill, decode, prompt, reply, nanReplays } = this.#counts;
    return {
      running: running.length,
      waiting: waiting.length,
      waitingTokens: waiting.reduce((sum, { tokens }) => sum + tokens.length, 0),
      preempted,
      blocks: this.#states.blocks,
      snapshots: this.#states.snapshots,
      host: this.#states.host && { ...this.#states.host, restoredTokens: this.#states.restored },
      cachedTokens: { ...this.#states.cached },
      steps: { prefill, decode },
      tokens: { prompt, reply },
      nanReplays,
      paging: this.#runner.paging,
      companion: this.#runner.companion,
    };
  }

  /** Forgets the states kept for later requests. */
  clearCache(): void {
    this.#states.clear();
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

  /** Submits steps and takes in their results until nobody wants anything. */
  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    // Requests of the same moment share their first step.
    await undefined;
    this.#settledMs = performance.now();
    try {
      for (;;) {
        while (this.#inFlight.length < this.#depth && this.#submitNext()) {}
        const step = this.#inFlight[0];
        if (step) await this.#settle(step);
        else if (this.#scheduler.running.some(({ isMaskPending }) => isMaskPending)) {
          await this.#change();
          this.#settledMs = performance.now();
        } else break;
      }
      const { running, waiting } = this.#scheduler;
      invariant(running.length + waiting.length === 0, `nobody runs ${running.length + waiting.length} requests`);
    } catch (error) {
      this.#failAll(error);
    } finally {
      this.#isRunning = false;
    }
  }

  /** False where nothing can be submitted before a step in flight has answered. */
  #submitNext(): boolean {
    for (const sequence of this.#scheduler.admit()) this.#begin(sequence);
    const decoding = this.#scheduler.decoding;
    if (this.#mayRead && this.#scheduler.prefilling.length > 0) {
      const room = this.#pace.chunk(decoding.length, this.#shortPrompts);
      if (room > 0) return this.#submitPrefill(room);
    }
    return decoding.length > 0 && this.#submitDecode();
  }

  get #depth(): number {
    const isAlone = this.#scheduler.running.length === 1;
    return STEPS_IN_FLIGHT + (isAlone && this.#pace.decodeMs(1) < SHORT_STEP_MS ? 1 : 0);
  }

  /** One step that reads at a time, so that others get their turn; a prompt that is alone need not wait between its parts. */
  get #mayRead(): boolean {
    const { running } = this.#scheduler;
    const isAlone = running.length === 1 && !running[0].request.score;
    return isAlone || !this.#inFlight.some(({ kind }) => kind === "prefill");
  }

  /** Prompts under way that one step could read to their end. */
  get #shortPrompts(): number {
    return this.#scheduler.prefilling.filter(({ unread }) => unread <= this.#runner.limits.maxBatchTokens).length;
  }

  #begin(sequence: Sequence): void {
    const { slot, sampling, request, reply } = sequence;
    if (!request.score) this.#runner.setSampling(slot, sampling, request.prompt, reply);
    this.#reportPrefill(sequence, sequence.position);
    this.#prepareMask(sequence);
  }

  #submitPrefill(room: number): boolean {
    const chunks = this.#scheduler.chunks(room);
    const parts = chunks.map(({ sequence, end }) => part(sequence, end - 1));
    const steps = chunks.map(({ sequence, end }): SequenceStep => {
      const { position, slot, blocks, tokens, request } = sequence;
      const sample = end === tokens.length && !request.score;
      const mask = sample ? this.#mask(sequence) : undefined;
      return { tokens: tokens.slice(position, end), position, slot, blocks, sample, mask, logits: request.logits };
    });
    const rows = steps.reduce((sum, { tokens }) => sum + tokens.length, 0);
    this.#push(
      "prefill",
      parts,
      rows,
      chunks[0].sequence.request.score ? this.#scores(steps[0]) : this.#runner.prefill(steps),
    );
    this.#batch = undefined;
    this.#counts.prompt += rows;
    for (const [i, { sequence, end }] of chunks.entries()) {
      if (sequence.epoch !== parts[i].epoch) continue;
      sequence.position = end;
      if (sequence.cuts.includes(end)) this.#states.keep(sequence, end);
    }
    return true;
  }

  async #scores(step: SequenceStep): Promise<Float32Array[]> {
    return [(await this.#runner.score(step)).logits];
  }

  #submitDecode(): boolean {
    const isFresh = !this.#inFlight.some(({ kind }) => kind === "decode");
    if (isFresh) this.#scheduler.makeRoom();
    // Who was preempted, or failed, has left.
    const { decoding } = this.#scheduler;
    if (isFresh && decoding.length === 0) return this.#submitNext();
    const sequences = isFresh ? unmaskedFirst(decoding) : this.#whoGoesOn(decoding);
    if (!sequences) return false;
    const rows = sequences.map((sequence): DecodeRow => {
      const { slot, blocks, tokens, ahead, request } = sequence;
      const position = tokens.length - 1 + ahead;
      const token = ahead === 0 ? tokens.at(-1) : undefined;
      return { slot, blocks, position, token, mask: this.#mask(sequence), logits: request.logits };
    });
    const parts = sequences.map((sequence, i) => part(sequence, rows[i].position));
    this.#push("decode", parts, rows.length, this.#runner.decode(rows));
    this.#batch = parts;
    for (const sequence of sequences) sequence.ahead++;
    return true;
  }

  /**
   * Who can be in the next step while another one is under way, in the order of its rows: those whose last token is on the
   * device only, which have to be the first of the step before, and those whose last token is known.
   */
  #whoGoesOn(decoding: readonly Sequence[]): Sequence[] | undefined {
    const going = decoding.filter(({ ahead, request }) => ahead > 0 && !request.mask);
    const joining = decoding.filter(({ ahead }) => ahead === 0);
    const waiting = decoding.length - going.length - joining.length;
    if (AHEAD_OF_MASKED * waiting > going.length) return undefined;
    const isFirst = (sequence: Sequence, i: number) => {
      const before = this.#batch?.[i];
      return before?.sequence === sequence && before.epoch === sequence.epoch;
    };
    const sequences = [...going, ...unmaskedFirst(joining)];
    if (!going.every(isFirst) || sequences.every(({ mayEnd }) => mayEnd)) return undefined;
    const hasRoom = (one: Sequence) => this.#states.grow(one, one.tokens.length + one.ahead);
    return sequences.every(hasRoom) ? sequences : undefined;
  }

  /** Lets the mask of the next draw be worked out, and the sequence wait for that where it takes a while. */
  #prepareMask(sequence: Sequence): void {
    const { request, reply, epoch } = sequence;
    sequence.isMaskPending = false;
    let prepared: Promise<void> | undefined;
    try {
      prepared = request.prepareMask?.(reply);
    } catch (error) {
      this.#fail(sequence, error);
      return;
    }
    if (!prepared) return;
    sequence.isMaskPending = true;
    const settle = (done: () => void) => {
      if (sequence.epoch !== epoch) return;
      sequence.isMaskPending = false;
      done();
      this.#wake?.();
    };
    prepared.then(
      () => settle(() => {}),
      (error) => settle(() => this.#fail(sequence, error)),
    );
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** What tells a step under way which tokens a sequence may draw. Where that cannot be found out the request fails, alone. */
  #mask(sequence: Sequence): SequenceStep["mask"] {
    const { request, epoch } = sequence;
    if (!request.mask) return undefined;
    return () => {
      // The caller may have left by now, and taken the answer along.
      if (sequence.epoch !== epoch || sequence.isLeaving) return undefined;
      try {
        return request.mask!(sequence.reply);
      } catch (error) {
        this.#fail(sequence, error);
        return undefined;
      }
    };
  }

  #push(kind: Step["kind"], parts: readonly Part[], rows: number, results: Step["results"]): void {
    // Failures are met where the step is awaited, which may be later.
    results.catch(() => {});
    this.#counts[kind]++;
    const isBehind = this.#inFlight.some(({ kind }) => kind === "prefill");
    this.#inFlight.push({ kind, parts, rows, results, isBehind, losses: this.#losses });
  }

  /** Waits for the oldest step and hands its results to whose they are. */
  async #settle({ kind, parts, rows, results, isBehind, losses }: Step): Promise<void> {
    let answers: readonly Result[];
    try {
      answers = await results;
    } catch (error) {
      this.#inFlight.shift();
      if (error instanceof StatesLost) {
        // Those submitted before it was noticed fail as well, and count for nothing any more.
        if (losses === this.#losses) this.#readAgain();
        return;
      }
      this.#batch = undefined;
      // Nobody knows how far it came.
      this.#states.clear();
      if (this.#runner.isLost) return this.#failAll(error);
      for (const { sequence, epoch } of parts) if (sequence.epoch === epoch) this.#fail(sequence, error);
      return;
    }
    this.#inFlight.shift();
    const now = performance.now();
    const ms = now - this.#settledMs;
    if (kind === "prefill" && !isBehind) this.#pace.prefilled(rows, ms);
    else if (kind === "decode") this.#pace.decoded(rows, ms, this.#shortPrompts);
    this.#settledMs = now;
    parts.forEach(({ sequence, epoch, last }, i) => {
      if (sequence.epoch !== epoch) return;
      if (kind === "decode") sequence.ahead--;
      const result = answers[i];
      if (result instanceof Float32Array) this.#score(sequence, result, last);
      else if (result) this.#accept(sequence, result, last);
      else if (kind === "prefill") this.#reportPrefill(sequence, last + 1);
      else invariant(sequence.isLeaving, `a reply ended unnoticed after ${last + 1} tokens`);
      if (sequence.isLeaving && sequence.ahead === 0 && sequence.status === "decode") {
        this.#scheduler.remove(sequence, true);
      }
    });
  }

  #accept(sequence: Sequence, sampled: Sampled, last: number): void {
    const { slot, position, isLast } = sampled;
    invariant(
      slot === sequence.slot && position === last && last === sequence.tokens.length - 1,
      `token ${last} of slot ${sequence.slot} came from ${position} of slot ${slot}`,
    );
    if (!sampled.isFinite) {
      this.#replay(sequence);
      return;
    }
    if (sequence.status === "prefill") {
      this.#states.verify(sequence);
      this.#states.remember(sequence);
      sequence.status = "decode";
    }
    sequence.tokens.push(sampled.token);
    this.#counts.reply++;
    sequence.events.push({ kind: "token", sampled });
    if (!isLast) {
      this.#prepareMask(sequence);
      return;
    }
    sequence.events.close();
    this.#scheduler.remove(sequence, true);
  }

  /** Hands on the logits after the tokens up to `last`, but for those that were handed on before they were read again. */
  #score(sequence: Sequence, logits: Float32Array, last: number): void {
    if (!areFinite(logits)) {
      this.#replay(sequence);
      return;
    }
    const { vocabularySize: V } = this.#runner.limits;
    const first = last + 1 - logits.length / V;
    const { epoch } = sequence;
    try {
      for (let position = Math.max(first, sequence.scored); position <= last; position++) {
        if (sequence.epoch !== epoch) return;
        sequence.request.score!(logits.subarray((position - first) * V, (position - first + 1) * V), position);
      }
    } catch (error) {
      this.#fail(sequence, error);
      return;
    }
    if (sequence.epoch !== epoch) return;
    sequence.scored = Math.max(sequence.scored, last + 1);
    this.#reportPrefill(sequence, last + 1);
    if (last + 1 < sequence.tokens.length) return;
    this.#states.remember(sequence);
    sequence.events.close();
    this.#scheduler.remove(sequence, true);
  }

  /** Something was not a number: once, the sequence is read again from the last state that was sound. */
  #replay(sequence: Sequence): void {
    if (sequence.hasReplayed || sequence.isLeaving) {
      this.#fail(sequence, new NumericalError(NOT_A_NUMBER));
      return;
    }
    sequence.hasReplayed = true;
    this.#counts.nanReplays++;
    this.#scheduler.requeue(sequence);
  }

  /** All states are gone: what was read and drawn is read again. */
  #readAgain(): void {
    this.#losses++;
    this.#batch = undefined;
    this.#states.clear();
    for (const sequence of [...this.#scheduler.running]) {
      if (sequence.isLeaving) this.#scheduler.remove(sequence);
      else this.#scheduler.requeue(sequence);
    }
    this.#runner.reset?.();
  }

  #reportPrefill({ events, tokens, givenLength, promptLength, cached }: Sequence, done: number): void {
    // A reply that has begun is not taken back.
    if (tokens.length > givenLength) return;
    events.push({ kind: "prefill", done: Math.min(done, promptLength), total: promptLength, cached });
  }

  /** The caller wants no more. What is on its way is waited for only where the state is worth keeping. */
  #leave(sequence: Sequence): void {
    sequence.events.cut();
    if (sequence.status === "done" || sequence.isLeaving) return;
    if (sequence.status !== "decode") this.#scheduler.remove(sequence);
    else if (sequence.ahead === 0) this.#scheduler.remove(sequence, true);
    else sequence.isLeaving = true;
    this.#wake?.();
  }

  #fail(sequence: Sequence, error: unknown): void {
    sequence.events.close(error);
    this.#scheduler.remove(sequence);
  }

  #failAll(error: unknown): void {
    this.#batch = undefined;
    for (const sequence of [...this.#scheduler.running, ...this.#scheduler.waiting]) this.#fail(sequence, error);
  }
}

function areFinite(values: Float32Array): boolean {
  for (const value of values) if (!Number.isFinite(value)) return false;
  return true;
}

/** Those that the next step can go on with ahead of what this one draws come first. */
const unmaskedFirst = (sequences: readonly Sequence[]): Sequence[] =>
  sequences.toSorted((a, b) => Number(a.request.mask !== undefined) - Number(b.request.mask !== undefined));

const part = (sequence: Sequence, last: number): Part => ({ sequence, epoch: sequence.epoch, last });

const NOT_A_NUMBER =
  "The model computed something that is not a number, twice. Try dtype f32; if it stays, the checkpoint is damaged.";
