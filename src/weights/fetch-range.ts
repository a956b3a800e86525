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

/** What came of a request for a range. `totalBytes` is hidden from pages by some servers of other origins. */
export type RangeReply =
  | { readonly kind: "part"; readonly bytes: Uint8Array<ArrayBuffer>; readonly totalBytes: number | undefined }
  | { readonly kind: "whole"; readonly bytes: Uint8Array<ArrayBuffer>; readonly totalBytes: number }
  | { readonly kind: "tooLarge"; readonly totalBytes: number | undefined }
  | { readonly kind: "missing" };

/**
 * One GET, of `range` where given, retried with back-off. A server may ignore the range and send the whole file: then it
 * is `whole` up to `maxWholeBytes`, and `tooLarge` beyond, without the body. Other failures are `CheckpointError`s.
 */
export function fetchRange(
  url: URL,
  label: string,
  range: ByteRange | undefined,
  maxWholeBytes: number,
  options: HttpOptions,
  signal?: AbortSignal,
): Promise<RangeReply> {
  const headers = range && { Range: `bytes=${range.from}-${range.to - 1}` };
  return request(url, { headers }, label, options, signal, async (response, progress) => {
    const { status } = response;
    // A server that answers unknown paths with its page means 404; no file of a model is HTML.
    const isPage = status === 200 && response.headers.get("content-type")?.startsWith("text/html");
    if (status === 404 || status === 410 || isPage) return { kind: "missing" };
    const { from, to, total } = contentRange(response);
    if (status === 416 && total === 0) return { kind: "part", bytes: new Uint8Array(0), totalBytes: 0 };
    if (status === 206 && range) {
      if (from !== undefined && (from !== range.from || to !== range.to)) {
        const asked = `bytes [${range.from}, ${range.to}) were asked for`;
        throw new CheckpointError(
          label,
          `${asked}, the server has [${from}, ${to}) of ${total}. Is the file complete?`,
        );
      }
      const length = range.to - range.from;
      const bytes = await readBody(response, length, progress, length);
      return bytes ? { kind: "part", bytes, totalBytes: total } : { kind: "tooLarge", totalBytes: total };
    }
    if (status !== 200) throw new CheckpointError(label, refusal(status));
    const length = contentLength(response);
    const limit = range ? maxWholeBytes : Number.POSITIVE_INFINITY;
    const bytes = (length ?? 0) <= limit && (await readBody(response, length, progress, limit));
    return bytes ? { kind: "whole", bytes, totalBytes: bytes.length } : { kind: "tooLarge", totalBytes: length };
  });
}

/** Size of a file by HEAD, or undefined where the server does not say. */
export const fetchLength = (url: URL, label: string, options: HttpOptions, signal?: AbortSignal) =>
  request(url, { method: "HEAD" }, label, options, signal, async (response) => contentLength(response));

/** Worth another attempt. */
class TransientError extends Error {
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0, options?: ErrorOptions) {
    super(message, options);
    this.retryAfterMs = retryAfterMs;
  }
}

const MAX_DELAY_MS = 10_000;

async function request<T>(
  url: URL,
  init: RequestInit,
  label: string,
  { attempts = 5, firstDelayMs = 300, stallMs = 30_000 }: HttpOptions,
  signal: AbortSignal | undefined,
  use: (response: Response, progress: () => void) => Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await once(url, init, stallMs, signal, use);
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof CheckpointError) throw error;
      const reason = (error as Error).message;
      if (attempt === attempts) {
        const message = `${reason} (${attempts} attempts). Check the connection and the address, then try again.`;
        throw new CheckpointError(label, message, { cause: error });
      }
      const asked = error instanceof TransientError ? error.retryAfterMs : 0;
      await delay(Math.min(MAX_DELAY_MS, Math.max(asked, firstDelayMs * 2 ** (attempt - 1))), signal);
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

/** The body, which must have `expected` bytes where that is known; nothing where it has more than `limit`. */
async function readBody(
  response: Response,
  expected: number | undefined,
  progress: () => void,
  limit: number,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const reader = response.body!.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    progress();
    parts.push(part.value);
    bytes += part.value.length;
    if (bytes > limit) return undefined;
  }
  if (expected !== undefined && bytes !== expected) {
    throw new TransientError(`the server sent ${bytes} of ${expected} bytes`);
  }
  const body = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    body.set(part, at);
    at += part.length;
  }
  return body;
}

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

function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
