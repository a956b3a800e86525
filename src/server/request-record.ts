import type { MiddlewareHandler } from "hono";
import type { Usage } from "../api/types.ts";
import type { ReplyMetrics } from "./metrics.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Env } from "./respond.ts";

/** What is known of a request when it has been answered: for logs and traces. */
export interface RequestRecord {
  readonly id: string;
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** `key 0` for the first key, else the client's address. */
  readonly client?: string;
  /** As `Date.now()` counts. */
  readonly startMs: number;
  readonly totalMs: number;
  /** W3C's, as the client sent it. */
  readonly traceparent?: string;
  /** What its body begins with, where `recordBody` asks for it. */
  readonly body?: string;
  /** What was written for it, where it asked for replies and was let in. */
  readonly replies?: RepliesRecord;
}

export interface RepliesRecord {
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  readonly reasoningTokens: number;
  /** From the request to its first step, and to its first token; undefined where it never came so far. */
  readonly queueMs?: number;
  readonly firstTokenMs?: number;
  /** Why each reply ended: a finish reason, `abort` or `error`. */
  readonly finish: readonly string[];
}

/** Follows requests, and tells of each when it has been answered to its end. */
export function record({ onRequest, recordBody }: ResolvedOptions): MiddlewareHandler<Env> {
  return async (c, next) => {
    const startMs = Date.now();
    const recorder = new RequestRecorder();
    c.set("recorder", recorder);
    const { raw } = c.req;
    const body = recordBody > 0 && raw.body ? await beginning(raw.clone(), recordBody) : undefined;
    await next();
    void recorder.ended().then(() =>
      onRequest({
        id: c.get("requestId"),
        method: c.req.method,
        path: c.req.path,
        status: c.res.status,
        client: c.get("client"),
        startMs,
        totalMs: recorder.elapsedMs,
        traceparent: c.req.header("traceparent"),
        body,
        replies: recorder.replies,
      }),
    );
  };
}

interface ReplySoFar {
  promptTokens: number;
  tokens: number;
  reason: string;
  usage?: Usage;
}

/** Follows the replies to one request. */
export class RequestRecorder {
  readonly #start = performance.now();
  readonly #replies: ReplySoFar[] = [];
  #queueMs: number | undefined;
  #firstTokenMs: number | undefined;
  #end: Promise<void> | undefined;

  get elapsedMs(): number {
    return performance.now() - this.#start;
  }

  /** The request was let in; call the result when its replies have ended. */
  begin(): () => void {
    let end!: () => void;
    this.#end = new Promise((resolve) => {
      end = resolve;
    });
    return end;
  }

  /** Settles when all replies have ended; at once where there are none. */
  async ended(): Promise<void> {
    await this.#end;
  }

  /** Begins to follow one reply. */
  reply(): ReplyMetrics {
    const reply: ReplySoFar = { promptTokens: 0, tokens: 0, reason: "" };
    this.#replies.push(reply);
    return {
      admitted: (promptTokens) => {
        reply.promptTokens = promptTokens;
        this.#queueMs ??= this.elapsedMs;
      },
      tokens: (count) => {
        reply.tokens += count;
        if (count > 0) this.#firstTokenMs ??= this.elapsedMs;
      },
      ended: (reason, finish) => {
        reply.reason ||= reason;
        reply.usage ??= finish?.usage;
      },
    };
  }

  get replies(): RepliesRecord | undefined {
    if (!this.#end) return undefined;
    const all = this.#replies;
    const sum = (of: (reply: ReplySoFar) => number) => all.reduce((total, reply) => total + of(reply), 0);
    return {
      promptTokens: sum(({ usage, promptTokens }) => usage?.promptTokens ?? promptTokens),
      cachedTokens: sum(({ usage }) => usage?.cachedTokens ?? 0),
      completionTokens: sum(({ usage, tokens }) => usage?.completionTokens ?? tokens),
      reasoningTokens: sum(({ usage }) => usage?.reasoningTokens ?? 0),
      queueMs: this.#queueMs,
      firstTokenMs: this.#firstTokenMs,
      finish: all.map(({ reason }) => reason),
    };
  }
}

/** The first characters of a body, of which no more is read than they take. */
async function beginning(request: Request, characters: number): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  // Leaving the loop lets go of this copy.
  for await (const chunk of request.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length >= characters) break;
  }
  return text.slice(0, characters);
}
