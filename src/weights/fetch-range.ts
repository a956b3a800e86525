import { pause } from "../common/waiting.ts";
import { CheckpointError } from "../errors.ts";

export interface HttpOptions {
  /** Attempts in all where the network fails or the server answers 408, 429 or 5xx. Default 5. */
  readonly attempts?: number;
  /** Wait before the second attempt, doubled for each further one. Default 300. */
  readonly firstDelayMs?: number;
  /** A request that brings no byte for so long has failed. Default 30,000. */
  readonly stallMs?: number;
}

export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

export interface RangeRequest {
  readonly url: URL;
  /** What messages call it. */
  readonly label: string;
  /** Default: all of it. */
  readonly range?: ByteRange;
  readonly headers?: Readonly<Record<string, string>>;
  /** A server may ignore the range and send the whole file, which is taken up to this size. */
  readonly maxWholeBytes?: number;
  /** What a refusal (any status but 200 and 206 that is not worth another attempt) means at this server. */
  readonly explain?: (response: Response) => Error | undefined;
  readonly options?: HttpOptions;
  readonly signal?: AbortSignal;
}

/**
 * What came of a request for a range. `totalBytes` is hidden from pages by some servers of other origins; `version` is what
 * changes with the file (ETag, else the date), where the server says; `url` is where redirects led.
 */
export type RangeReply = { readonly version?: string; readonly url?: string } & (
  | { readonly kind: "part"; readonly bytes: Uint8Array<ArrayBuffer>; readonly totalBytes: number | undefined }
  | { readonly kind: "whole"; readonly bytes: Uint8Array<ArrayBuffer>; readonly totalBytes: number }
  | { readonly kind: "tooLarge"; readonly totalBytes: number | undefined }
  | { readonly kind: "missing" }
);

/**
 * A GET of a range, retried with back-off. Where the connection breaks within it, only the rest is asked for again; bytes of
 * different versions of a file are never put together. A file sent whole is `whole` up to `maxWholeBytes`, and `tooLarge`
 * beyond, without the body. Other failures are `CheckpointError`s.
 */
export function fetchRange(asked: RangeRequest): Promise<RangeReply> {
  const { label, range, explain } = asked;
  const received = new Received(label);
  return request({
    ...asked,
    keptBytes: () => received.bytes,
    init: () => ({
      headers: { ...asked.headers, ...(range && { Range: `bytes=${range.from + received.bytes}-${range.to - 1}` }) },
    }),
    async use(response, progress): Promise<RangeReply> {
      const { status } = response;
      const refused = status !== 200 && status !== 206 && status !== 416 ? explain?.(response) : undefined;
      if (refused) throw refused instanceof CheckpointError ? refused : new FinalError(refused);
      // A server that answers unknown paths with its page means 404; no file of a model is HTML.
      const isPage = status === 200 && response.headers.get("content-type")?.startsWith("text/html");
      if (status === 404 || status === 410 || isPage) return { kind: "missing" };
      const { from, to, total } = contentRange(response);
      const version = received.check(versionOf(response));
      const origin = { version, url: response.url };
      if (status === 416 && total === 0) return { ...origin, kind: "part", bytes: new Uint8Array(0), totalBytes: 0 };
      if (status === 206 && range) {
        const wanted = { from: range.from + received.bytes, to: range.to };
        if (from !== undefined && (from !== wanted.from || to !== wanted.to)) {
          const message = `bytes [${wanted.from}, ${wanted.to}) were asked for, the server has [${from}, ${to}) of ${total}`;
          if (received.bytes === 0) throw new CheckpointError(label, `${message}. Is the file complete?`);
          received.clear();
          throw new TransientError(message);
        }
        const length = range.to - range.from;
        const isWhole = await received.take(response, length, progress, length);
        if (!isWhole) return { ...origin, kind: "tooLarge", totalBytes: total };
        return { ...origin, kind: "part", bytes: received.join(), totalBytes: total };
      }
      if (status !== 200) throw new CheckpointError(label, refusal(status));
      received.clear();
      const length = contentLength(response);
      const limit = range ? (asked.maxWholeBytes ?? 0) : Number.POSITIVE_INFINITY;
      const fits = (length ?? 0) <= limit && (await received.take(response, length, progress, limit, false));
      if (!fits) return { ...origin, kind: "tooLarge", totalBytes: length };
      const bytes = received.join();
      return { ...origin, kind: "whole", bytes, totalBytes: bytes.length };
    },
  });
}

/** A JSON document, retried likewise. */
export function fetchJson(asked: RangeRequest): Promise<unknown> {
  const { headers, explain, label } = asked;
  return request({
    ...asked,
    init: () => ({ headers }),
    async use(response) {
      if (response.ok) return response.json();
      throw explain?.(response) ?? new CheckpointError(label, refusal(response.status));
    },
  });
}

/** Size of a file by HEAD, or undefined where the server does not say. */
export const fetchLength = (asked: Pick<RangeRequest, "url" | "label" | "options" | "signal">) =>
  request({ ...asked, init: () => ({ method: "HEAD" }), use: async (response) => contentLength(response) });

/** Worth another attempt. */
class TransientError extends Error {
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0, options?: ErrorOptions) {
    super(message, options);
    this.retryAfterMs = retryAfterMs;
  }
}

/** Not worth another attempt, and to be thrown as it is. */
class FinalError extends Error {
  constructor(override readonly cause: Error) {
    super(cause.message);
  }
}

const MAX_DELAY_MS = 10_000;
/** Servers that count requests may ask for more patience. */
const MAX_ASKED_MS = 60_000;

interface Attempts<T> extends Pick<RangeRequest, "url" | "label" | "options" | "signal"> {
  readonly init: () => RequestInit;
  /** Bytes that need not be asked for again. Attempts are counted anew whenever there are more of them. */
  readonly keptBytes?: () => number;
  readonly use: (response: Response, progress: () => void) => Promise<T>;
}

async function request<T>({ url, label, options, signal, init, keptBytes, use }: Attempts<T>): Promise<T> {
  const { attempts = 5, firstDelayMs = 300, stallMs = 30_000 } = options ?? {};
  for (let attempt = 1, kept = 0; ; attempt++) {
    try {
      return await once(url, init(), stallMs, signal, use);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof CheckpointError) throw error;
      if (error instanceof FinalError) throw error.cause;
      const received = keptBytes?.() ?? 0;
      if (received > kept) attempt = 1;
      kept = Math.max(kept, received);
      const reason = (error as Error).message;
      if (attempt === attempts) {
        const message = `${reason} (${attempts} attempts). Check the connection and the address, then try again.`;
        throw new CheckpointError(label, message, { cause: error });
      }
      const asked = error instanceof TransientError ? error.retryAfterMs : 0;
      const backOff = Math.min(MAX_DELAY_MS, firstDelayMs * 2 ** (attempt - 1));
      await pause(Math.max(Math.min(asked, MAX_ASKED_MS), backOff), signal);
      signal?.throwIfAborted();
    }
  }
}

async function once<T>(
  url: URL,
  init: RequestInit,
  stallMs: number,
  signal: AbortSignal | undefined,
  use: (response: Response, progress: () => void) => Promise<T>,
): Promise<T> {
  const stalled = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const progress = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stalled.abort(new TransientError(`nothing arrived for ${stallMs} ms`)), stallMs);
  };
  progress();
  try {
    const response = await fetch(url, {
      ...init,
      signal: signal ? AbortSignal.any([signal, stalled.signal]) : stalled.signal,
    });
    if (response.status >= 500 || response.status === 429 || response.status === 408) {
      const seconds = Number(response.headers.get("retry-after"));
      throw new TransientError(`the server answered ${response.status}`, seconds > 0 ? seconds * 1000 : 0);
    }
    return await use(response, progress);
  } finally {
    clearTimeout(timer);
    // Ends a body that nobody read; one that was read to its end is not touched.
    stalled.abort();
  }
}

/** What has arrived of a range, in however many attempts. */
class Received {
  readonly #label: string;
  readonly #parts: Uint8Array[] = [];
  #version: string | undefined;
  #bytes = 0;

  constructor(label: string) {
    this.#label = label;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Fails where the file has become another since the first answer. */
  check(version: string | undefined): string | undefined {
    if (this.#version !== undefined && version !== undefined && version !== this.#version) {
      throw new CheckpointError(this.#label, "the file changed on the server while it was being read. Load it again.");
    }
    this.#version ??= version;
    return this.#version;
  }

  /** Reads a body, up to `expected` bytes in all where that is known; false where there are more than `limit`. */
  async take(
    response: Response,
    expected: number | undefined,
    progress: () => void,
    limit: number,
    isResumable = true,
  ): Promise<boolean> {
    const reader = response.body!.getReader();
    try {
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        progress();
        this.#parts.push(part.value);
        this.#bytes += part.value.length;
        if (this.#bytes > limit) return false;
      }
      if (expected === undefined || this.#bytes === expected) return true;
      throw new TransientError(`the server sent ${this.#bytes} of ${expected} bytes`);
    } catch (error) {
      if (!isResumable) this.clear();
      throw error;
    }
  }

  join(): Uint8Array<ArrayBuffer> {
    const joined = new Uint8Array(this.#bytes);
    let at = 0;
    for (const part of this.#parts) {
      joined.set(part, at);
      at += part.length;
    }
    return joined;
  }

  clear(): void {
    this.#parts.length = 0;
    this.#bytes = 0;
  }
}

/** The part of an ETag that names the content, whether it vouches for every byte or not; else the date. */
const versionOf = ({ headers }: Response): string | undefined =>
  headers.get("etag")?.replace(/^W\//, "") ?? headers.get("last-modified") ?? undefined;

/** `bytes 0-9/100` → [0, 10) of 100. */
function contentRange(response: Response): { from?: number; to?: number; total?: number } {
  const match = response.headers.get("content-range")?.match(/^bytes (?:(\d+)-(\d+)|\*)\/(\d+|\*)$/);
  if (!match) return {};
  const [, first, last, total] = match;
  return {
    from: first === undefined ? undefined : Number(first),
    to: last === undefined ? undefined : Number(last) + 1,
    total: total === "*" ? undefined : Number(total),
  };
}

/** Undefined for a compressed body too: the header then counts other bytes than arrive here. */
function contentLength(response: Response): number | undefined {
  const length = response.headers.get("content-length");
  return length === null || response.headers.has("content-encoding") ? undefined : Number(length);
}

const refusal = (status: number): string =>
  status === 401 || status === 403
    ? `the server refuses access (${status}). The model may need a login, or a signed link has expired.`
    : `the server answered ${status}. Check the address.`;
