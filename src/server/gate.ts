import { Bell } from "../common/waiting.ts";
import { HttpError } from "./http-error.ts";

export interface GateLimits {
  readonly maxRequests: number;
  readonly maxRequestsPerClient: number;
  readonly retryAfterSeconds: number;
}

/** Counts replies that are under way, and turns away what is too much. */
export class Gate {
  readonly #limits: GateLimits;
  readonly #ofClient = new Map<string, number>();
  readonly #emptied = new Bell();
  #count = 0;

  constructor(limits: GateLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#count;
  }

  /** Lets `count` replies of a client in; call the result when they have ended. Fails with 429 or 503. */
  enter(client: string, count: number): () => void {
    const { maxRequests, maxRequestsPerClient, retryAfterSeconds } = this.#limits;
    const headers = { "Retry-After": String(retryAfterSeconds) };
    const own = this.#ofClient.get(client) ?? 0;
    if (own + count > maxRequestsPerClient) {
      throw new HttpError(
        `You have ${own} replies under way, and may have ${maxRequestsPerClient}. Wait until one has ended.`,
        { status: 429, code: "too_many_requests", type: "rate_limit_error", headers },
      );
    }
    if (this.#count + count > maxRequests) {
      throw new HttpError(`The queue is full: ${this.#count} replies are under way or waiting. Try again soon.`, {
        status: 503,
        code: "queue_full",
        type: "overloaded_error",
        headers,
      });
    }
    this.#add(client, count);
    let isInside = true;
    return () => {
      if (isInside) this.#add(client, -count);
      isInside = false;
    };
  }

  /** Waits until all have left. */
  async empty(): Promise<void> {
    while (this.#count > 0) await this.#emptied.heard();
  }

  #add(client: string, count: number): void {
    this.#count += count;
    const own = (this.#ofClient.get(client) ?? 0) + count;
    if (own > 0) this.#ofClient.set(client, own);
    else this.#ofClient.delete(client);
    if (this.#count === 0) this.#emptied.ring();
  }
}
