import type { RequestRecord } from "./request-record.ts";

/** How a server answers. Every field has a default. */
export interface ServerOptions {
  /** Names that the model goes by; replies carry the first. Default: the last part of where it was opened from. */
  readonly servedModelNames?: readonly string[];
  /** Answer 404 to a request for another model, instead of a warning. Default false. */
  readonly strictModel?: boolean;
  /** Keys of which a request must bring one. Default: none, and all may ask. */
  readonly apiKeys?: readonly string[];
  /**
   * Origins whose pages may ask, besides those of this machine (`http://localhost`, any port); `*` for all. Other pages are
   * refused where there are no keys, and cannot read the answers where there are. Default: none.
   */
  readonly allowedOrigins?: readonly string[];
  /** Bytes of a request's body. Default 64 MiB: a prompt of a million tokens takes up to 9. */
  readonly maxBodyBytes?: number;
  /** Replies that are under way or waiting, at most; further requests are answered 503. Default 512. */
  readonly maxRequests?: number;
  /** The same for one key, or for one address where no keys are set; further requests are answered 429. Default: no limit. */
  readonly maxRequestsPerClient?: number;
  /** Bytes of device memory for the states of layers that one key, or one address, runs here as a companion's. Default 1 GiB. */
  readonly maxStateBytesPerClient?: number;
  /** Replies to one request (`n` times its prompts). Default 128. */
  readonly maxChoices?: number;
  /** Further variables for the chat template, which a request's own replace. */
  readonly templateVariables?: Readonly<Record<string, unknown>>;
  /** Silence after which a stream gets a comment. Default 10 s. */
  readonly heartbeatMs?: number;
  /** When an unstreamed reply that is not done begins with white space, so that nobody gives up on it. Default 60 s. */
  readonly earlyBodyMs?: number;
  /** How long a stream waits for its turn before its headers are sent: errors until then have a status. Default 1 s. */
  readonly earlyHeadersMs?: number;
  /** What `Retry-After` says. Default 5 s; clients ignore more than a minute. */
  readonly retryAfterSeconds?: number;
  /** Run the longest step once before saying that the server is ready. Default true. */
  readonly rehearse?: boolean;
  /** Keep this many characters of each request's body in its record. Default 0: what people write is nobody's business. */
  readonly recordBody?: number;
  /** Told of every request when it has been answered to the end. Default: nobody. */
  readonly onRequest?: (request: RequestRecord) => void;
  /** Told of links of pages that were refused, or broke the protocol. Default: standard error. */
  readonly onRefusedLink?: (line: string) => void;
  /** What `/version` says. */
  readonly version?: string;
  /** Told of what went wrong in the server itself. Default: standard error. */
  readonly onError?: (error: unknown, requestId: string) => void;
}

export type ResolvedOptions = Required<ServerOptions>;

export function resolveOptions(options: ServerOptions): ResolvedOptions {
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return { ...DEFAULTS, ...given };
}

const DEFAULTS: ResolvedOptions = {
  servedModelNames: [],
  strictModel: false,
  apiKeys: [],
  allowedOrigins: [],
  maxBodyBytes: 64 * 2 ** 20,
  maxRequests: 512,
  maxRequestsPerClient: Number.POSITIVE_INFINITY,
  maxStateBytesPerClient: 2 ** 30,
  maxChoices: 128,
  templateVariables: {},
  heartbeatMs: 10_000,
  earlyBodyMs: 60_000,
  earlyHeadersMs: 1000,
  retryAfterSeconds: 5,
  rehearse: true,
  recordBody: 0,
  onRequest: () => {},
  onRefusedLink: (line) => console.error(line),
  version: "0.0.0",
  onError: (error, requestId) => console.error(`request ${requestId}:`, error),
};
