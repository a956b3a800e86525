import type { GenerationEvent } from "../api/types.ts";
import { InvalidRequestError } from "../errors.ts";
import type { FieldNames } from "./field-names.ts";
import { HttpError, toHttpError } from "./http-error.ts";
import { type Indexed, merge } from "./merge.ts";
import type { ReplyMetrics } from "./metrics.ts";

/** Begins one reply, which ends when `signal` aborts. */
export type Choice = (signal: AbortSignal) => AsyncIterable<GenerationEvent>;

export type Finish = Extract<GenerationEvent, { kind: "finish" }>;

/** What a request makes of its replies. */
export interface JobOptions {
  /** What it calls the model's parameters, for errors to name. */
  readonly names?: FieldNames;
  /** What is told of each reply's events. Default: all. */
  readonly shape?: (events: AsyncIterable<GenerationEvent>) => AsyncIterable<GenerationEvent>;
}

interface JobUse extends JobOptions {
  /** Asks to be let in, and gives what is to be called at the end. */
  readonly enter: () => () => void;
  /** What is told of a reply. */
  readonly follow: () => readonly ReplyMetrics[];
  readonly signal: AbortSignal;
}

/** The replies to one request: let in together, followed by the metrics, and ended together. */
export class Job {
  readonly #choices: readonly Choice[];
  readonly #abort = new AbortController();
  readonly #signal: AbortSignal;
  readonly #use: JobUse;
  readonly #read: { done: number; total: number }[] = [];

  constructor(choices: readonly Choice[], use: JobUse) {
    this.#choices = choices;
    this.#use = use;
    this.#signal = AbortSignal.any([use.signal, this.#abort.signal]);
  }

  /** The events of all replies as they come. Fails with 429 or 503 where there is no room. */
  async *events(): AsyncGenerator<Indexed<GenerationEvent>, void, void> {
    const { enter, shape = (events) => events } = this.#use;
    const leave = enter();
    try {
      yield* merge(this.#choices.map((choice, index) => shape(this.#follow(choice, index))));
    } finally {
      this.#abort.abort();
      leave();
    }
  }

  /** Ends all replies; what reads the events meets an error. */
  abort(): void {
    this.#abort.abort();
  }

  /** How far the prompts have been read, for those who wait. */
  get progress(): string {
    const sum = (of: (part: { done: number; total: number }) => number) =>
      this.#read.reduce((total, part) => total + of(part), 0);
    return this.#read.length === 0 ? "waiting" : `prefill ${sum(({ done }) => done)}/${sum(({ total }) => total)}`;
  }

  async *#follow(choice: Choice, index: number): AsyncGenerator<GenerationEvent, void, void> {
    const followers = this.#use.follow();
    const ended = (reason: string) => {
      for (const follower of followers) follower.ended(reason);
    };
    try {
      for await (const event of choice(this.#signal)) {
        this.#record(event, index, followers);
        if (event.kind === "finish" && event.reason === "abort") throw stopped();
        yield event;
      }
    } catch (error) {
      ended(this.#signal.aborted ? "abort" : "error");
      throw error instanceof InvalidRequestError ? toHttpError(error, this.#use.names) : error;
    } finally {
      ended("abort");
    }
  }

  #record(event: GenerationEvent, index: number, followers: readonly ReplyMetrics[]): void {
    if (event.kind === "prefill") this.#read[index] = event;
    for (const follower of followers) {
      if (event.kind === "prefill") follower.admitted(event.total);
      else if (event.kind === "finish") follower.ended(event.reason, event);
      else follower.tokens(event.tokenIds.length);
    }
  }
}

/** Whoever has gone does not read it; others are told that the server stops. */
const stopped = (): HttpError =>
  new HttpError("The reply was stopped: the server shuts down.", {
    status: 503,
    code: "stopped",
    headers: { "Retry-After": "5" },
  });
