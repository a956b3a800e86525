import * as z from "zod";
import {
  ContextLengthError,
  DeviceLostError,
  InvalidRequestError,
  LLMError,
  NumericalError,
  OutOfMemoryError,
  QueueFullError,
  WorkerLostError,
} from "../errors.ts";
import { type FieldNames, fieldNames } from "./field-names.ts";

export type ErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "not_found_error"
  | "rate_limit_error"
  | "server_error"
  | "overloaded_error";

export interface ErrorFacts {
  readonly status: number;
  readonly code: string;
  /** The field at fault, such as `messages[0].content`. */
  readonly param?: string;
  readonly type?: ErrorType;
  readonly headers?: Readonly<Record<string, string>>;
  /** Further fields of the body. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** A request that is answered with an error. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly facts: ErrorFacts;

  constructor(message: string, facts: ErrorFacts, options?: ErrorOptions) {
    super(message, options);
    this.facts = facts;
  }

  get type(): ErrorType {
    return this.facts.type ?? (this.facts.status < 500 ? "invalid_request_error" : "server_error");
  }

  /** As OpenAI writes errors. */
  get body() {
    const { code, param = null, details } = this.facts;
    return { error: { message: this.message, type: this.type, param, code, ...details } };
  }
}

export const invalid = (param: string, message: string, code = "invalid_value"): HttpError =>
  new HttpError(`${param}: ${message}`, { status: 400, code, param });

/** What an error is to the client, whose request calls the model's parameters by `names`. */
export function toHttpError(error: unknown, names: FieldNames = fieldNames()): HttpError {
  if (error instanceof HttpError) return error;
  if (error instanceof z.ZodError) return ofIssues(error);
  const { message } = error instanceof Error ? error : new Error(String(error));
  const options = { cause: error };
  if (error instanceof ContextLengthError) {
    const { promptTokens, maxContext } = error;
    return new HttpError(
      `This model's maximum context length is ${maxContext} tokens, and the prompt has ${promptTokens}. ` +
        "Shorten the prompt, or start the server with a larger --max-model-len.",
      {
        status: 400,
        code: "context_length_exceeded",
        details: { n_prompt_tokens: promptTokens, n_ctx: maxContext },
      },
      options,
    );
  }
  if (error instanceof InvalidRequestError) {
    const param = names(error.field);
    const text = message.startsWith(error.field) ? param + message.slice(error.field.length) : message;
    return new HttpError(text, { status: 400, code: "invalid_value", param }, options);
  }
  const isGone = [DeviceLostError, OutOfMemoryError, WorkerLostError].some((kind) => error instanceof kind);
  if (isGone) {
    return new HttpError(
      message,
      { status: 503, code: "device_unavailable", headers: { "Retry-After": "5" } },
      options,
    );
  }
  if (error instanceof QueueFullError) {
    const facts = {
      status: 503,
      code: "queue_full",
      type: "overloaded_error",
      headers: { "Retry-After": "5" },
    } as const;
    return new HttpError(message, facts, options);
  }
  if (error instanceof RangeError && /call stack/.test(message)) {
    return new HttpError("The request is nested too deeply.", { status: 400, code: "too_deep" }, options);
  }
  const known = error instanceof NumericalError || error instanceof LLMError;
  return new HttpError(
    known ? message : "The server failed at this request.",
    { status: 500, code: "internal_error" },
    options,
  );
}

function ofIssues(error: z.ZodError): HttpError {
  const issue = deepest(error.issues[0]);
  const param = pathText(issue.path);
  const where = param === "" ? "" : `${param}: `;
  return new HttpError(`${where}${issue.message}`, {
    status: 400,
    code: issue.code === "invalid_type" ? "invalid_type" : "invalid_value",
    param: param || undefined,
  });
}

/** Of a union's alternatives, the one that came furthest says best what is wrong. */
function deepest(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== "invalid_union") return issue;
  const inner = issue.errors
    .map((issues) => deepest(issues[0]))
    .sort((a, b) => b.path.length - a.path.length)
    .find(({ path }) => path.length > 0);
  if (inner) return { ...inner, path: [...issue.path, ...inner.path] };
  const wanted = issue.errors.map(([alternative]) => (alternative as { expected?: string }).expected).filter(Boolean);
  return wanted.length > 0 ? { ...issue, message: `must be one of ${[...new Set(wanted)].join(", ")}.` } : issue;
}

/** `messages[0].content` */
export const pathText = (path: readonly PropertyKey[]): string =>
  path
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`))
    .join("")
    .replace(/^\./, "");
