import type { RequestRecord } from "./request-record.ts";

const LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LEVELS)[number];

export interface LogOptions {
  /** Lines of less weight are left out. Default `info`. */
  readonly level?: LogLevel;
  /** `json`: one object a line; `pretty`: for people. Default `pretty`. */
  readonly format?: "pretty" | "json";
  /** Where lines go. Default: standard error. */
  readonly write?: (line: string) => void;
}

/** Lines about what happens, with facts beside the text: a program that reads them need not take the text apart. */
export class Log {
  readonly #least: number;
  readonly #isJson: boolean;
  readonly #write: (line: string) => void;

  constructor({ level = "info", format = "pretty", write = (line) => process.stderr.write(line) }: LogOptions = {}) {
    this.#least = LEVELS.indexOf(level);
    this.#isJson = format === "json";
    this.#write = write;
  }

  debug(text: string, facts?: object): void {
    this.#line("debug", text, facts);
  }

  info(text: string, facts?: object): void {
    this.#line("info", text, facts);
  }

  warn(text: string, facts?: object): void {
    this.#line("warn", text, facts);
  }

  error(text: string, facts?: object): void {
    this.#line("error", text, facts);
  }

  #line(level: LogLevel, text: string, facts: object = {}): void {
    if (LEVELS.indexOf(level) < this.#least) return;
    const time = new Date().toISOString();
    const line = this.#isJson
      ? JSON.stringify({ time, level, msg: text, ...facts })
      : `${time.slice(11, 19)} ${level === "info" ? "" : `${level}: `}${text}`;
    this.#write(`${line}\n`);
  }
}

/** One line a request. Probes, and what asks for no reply and goes well, are lines of `debug`. */
export function logRequest(log: Log, record: RequestRecord): void {
  const { id, method, path, status, client, totalMs, replies, body } = record;
  const { queueMs, firstTokenMs, ...counts } = replies ?? {};
  const facts = {
    requestId: id,
    method,
    path,
    status,
    client,
    ...counts,
    ...(queueMs !== undefined && { queueMs: Math.round(queueMs) }),
    ...(firstTokenMs !== undefined && { firstTokenMs: Math.round(firstTokenMs) }),
    totalMs: Math.round(totalMs),
    ...(body !== undefined && { body }),
  };
  const isProbe = method === "GET" && (status < 400 || status === 503);
  const level = isProbe || (!replies && status < 400) ? "debug" : status >= 500 ? "warn" : "info";
  log[level](textOf(record), facts);
}

function textOf({ id, method, path, status, totalMs, replies, body }: RequestRecord): string {
  const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`;
  const parts = replies
    ? [
        `${replies.promptTokens} tokens read${replies.cachedTokens > 0 ? ` (${replies.cachedTokens} cached)` : ""}`,
        `${replies.completionTokens} written`,
        ...(replies.firstTokenMs === undefined ? [] : [`first after ${seconds(replies.firstTokenMs)}`]),
        seconds(totalMs),
        [...new Set(replies.finish)].join("+"),
      ]
    : [seconds(totalMs)];
  return `${method} ${path} ${status}: ${parts.join(", ")} [${id}]${body === undefined ? "" : ` ${body}`}`;
}
