import type { Context } from "hono";
import type { GenerationEvent, ScoredToken } from "../api/types.ts";
import { type HttpError, toHttpError } from "./http-error.ts";
import type { Finish, Job } from "./job.ts";
import type { Indexed } from "./merge.ts";
import type { ResolvedOptions } from "./options.ts";
import type { RequestRecorder } from "./request-record.ts";

export type Env = { Variables: { requestId: string; client: string; recorder: RequestRecorder } };
export type Events = AsyncIterable<Indexed<GenerationEvent>>;

/** One reply, whole. */
export interface Whole {
  readonly finish: Finish;
  /** All text, echo included. */
  readonly text: string;
  readonly logprobs: readonly ScoredToken[];
}

/**
 * Answers with all replies at once. When that takes long, the answer begins with white space, which JSON allows: clients
 * and proxies give up on what is silent. Its status is 200 from then on, so a later error is told in the body alone.
 */
export async function respondWhole(
  c: Context<Env>,
  job: Job,
  options: ResolvedOptions,
  build: (replies: readonly Whole[]) => object,
  errorBody = (error: HttpError): object => error.body,
): Promise<Response> {
  const events = job.events();
  const result = collect(events).then(build);
  const early = await within(result, options.earlyBodyMs);
  if (early) return c.json(early.value);
  async function* body(): AsyncGenerator<string, void, void> {
    yield " ";
    const whole = result.catch((error) => errorBody(failure(c, options, error)));
    for (;;) {
      const done = await within(whole, options.heartbeatMs);
      if (done) return yield JSON.stringify(done.value);
      yield " ";
    }
  }
  return stream(c, { job, events, pieces: body() }, "application/json");
}

/**
 * Answers with server-sent events. Errors that come before the first event (or the first second) have a status of their
 * own; later ones are events. While nothing else is sent, comments say how far the prompt has been read.
 */
export async function respondStream(
  c: Context<Env>,
  job: Job,
  options: ResolvedOptions,
  frames: (events: Events) => AsyncGenerator<string, void, void>,
  errorFrames = (error: HttpError): string => `${sse(error.body)}data: [DONE]\n\n`,
): Promise<Response> {
  const events = job.events();
  const first = events.next();
  await within(first, options.earlyHeadersMs);
  // A client that leaves now does not hear of a later failure.
  first.catch(() => {});
  async function* body() {
    try {
      yield* withHeartbeat(frames(resumed(first, events)), options.heartbeatMs, () => `: ${job.progress}\n\n`);
    } catch (error) {
      yield errorFrames(failure(c, options, error));
    }
  }
  return stream(c, { job, events, pieces: body() }, "text/event-stream");
}

/** One event of a stream. */
export const sse = (data: object, event?: string): string =>
  `${event === undefined ? "" : `event: ${event}\n`}data: ${JSON.stringify(data)}\n\n`;

export const DONE = "data: [DONE]\n\n";

/** All replies, in the order in which they were asked for. */
async function collect(events: Events): Promise<Whole[]> {
  const replies: { finish?: Finish; text: string; logprobs: ScoredToken[] }[] = [];
  for await (const { index, item } of events) {
    replies[index] ??= { text: "", logprobs: [] };
    const reply = replies[index];
    if (item.kind === "finish") reply.finish = item;
    else if (item.kind !== "prefill") reply.logprobs.push(...(item.logprobs ?? []));
    if (item.kind === "text") reply.text += item.text;
  }
  return replies as Whole[];
}

function failure(c: Context<Env>, { onError }: ResolvedOptions, error: unknown): HttpError {
  const known = toHttpError(error);
  if (known.facts.status === 500) onError(error, c.get("requestId"));
  return known;
}

interface Streamed {
  readonly job: Job;
  readonly events: AsyncGenerator<unknown, void, void>;
  readonly pieces: AsyncGenerator<string, void, void>;
}

/** A body in pieces. When the client leaves, the job is aborted. */
function stream(c: Context<Env>, { job, events, pieces }: Streamed, type: string): Response {
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
    async cancel() {
      job.abort();
      await Promise.all([pieces.return(), events.return()]);
    },
  });
  const headers = { "Content-Type": type, "Cache-Control": "no-cache", "X-Accel-Buffering": "no" };
  return c.body(body, 200, headers);
}

async function* withHeartbeat(
  pieces: AsyncGenerator<string, void, void>,
  ms: number,
  beat: () => string,
): AsyncGenerator<string, void, void> {
  try {
    for (;;) {
      const next = pieces.next();
      let result = await within(next, ms);
      for (; !result; result = await within(next, ms)) yield beat();
      if (result.value.done) return;
      yield result.value.value;
    }
  } finally {
    await pieces.return();
  }
}

/** The rest of an iteration whose first step has been taken. */
async function* resumed<T>(first: Promise<IteratorResult<T, void>>, rest: AsyncGenerator<T, void, void>) {
  try {
    const { done, value } = await first;
    if (done) return;
    yield value as T;
    yield* rest;
  } finally {
    await rest.return();
  }
}

/** What the work gives, if it does so in time. */
async function within<T>(work: Promise<T>, ms: number): Promise<{ value: T } | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([work.then((value) => ({ value })), timeout]);
  } finally {
    clearTimeout(timer);
  }
}
