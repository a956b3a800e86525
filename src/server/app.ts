import { randomUUID } from "node:crypto";
import { getConnInfo } from "@hono/node-server/conninfo";
import { type Context, Hono } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { HttpError, toHttpError } from "./http-error.ts";
import { origins } from "./origins.ts";
import { record } from "./request-record.ts";
import type { Env } from "./respond.ts";
import { chatCompletions } from "./routes/chat.ts";
import { completions } from "./routes/completions.ts";
import { anthropicError, countTokens, messages } from "./routes/messages.ts";
import { listModels, oneModel } from "./routes/models.ts";
import { responses } from "./routes/responses.ts";
import { flushCache, generate, healthGenerate, modelInfo, serverInfo } from "./routes/sglang.ts";
import { health, metrics, version } from "./routes/status.ts";
import { applyTemplate, detokenize, tokenize } from "./routes/tokens.ts";
import type { Service } from "./service.ts";

type Handler = (c: Context<Env>, service: Service) => Response | Promise<Response>;

/** Paths, their methods, and what answers. */
const ROUTES: Readonly<Record<string, { readonly get?: Handler; readonly post?: Handler }>> = {
  "/v1/models": { get: listModels },
  "/v1/models/*": { get: oneModel },
  "/v1/completions": { post: completions },
  "/v1/chat/completions": { post: chatCompletions },
  "/v1/responses": { post: responses },
  "/v1/messages": { post: messages },
  "/v1/messages/count_tokens": { post: countTokens },
  "/v1/embeddings": { post: noEmbeddings },
  "/tokenize": { post: tokenize },
  "/detokenize": { post: detokenize },
  "/apply-template": { post: applyTemplate },
  "/generate": { post: generate },
  "/get_model_info": { get: modelInfo },
  "/get_server_info": { get: serverInfo },
  "/health_generate": { get: healthGenerate },
  "/flush_cache": { get: flushCache, post: flushCache },
  "/health": { get: health },
  "/ping": { get: health, post: health },
  "/metrics": { get: metrics },
  "/version": { get: version },
};

/** What anyone may read: probes and scrapers bring no key. */
const OPEN: readonly string[] = ["/health", "/ping", "/metrics", "/version"];

/** The routes of a service. */
export function createApp(service: Service): Hono<Env> {
  const app = new Hono<Env>();
  app.use(async (c, next) => {
    const given = c.req.header("x-request-id");
    const id = given !== undefined && /^[\x21-\x7e]{1,128}$/.test(given) ? given : randomUUID();
    c.set("requestId", id);
    await next();
    c.header("X-Request-Id", id);
  });
  app.use(record(service.options));
  for (const middleware of origins(service)) app.use(middleware);
  app.use(async (c, next) => {
    const key = OPEN.includes(c.req.path) ? undefined : service.keys.check(c.req.raw.headers);
    c.set("client", key ?? addressOf(c));
    await next();
  });
  for (const [route, handlers] of Object.entries(ROUTES)) {
    // Some clients leave the version out.
    for (const path of new Set([route, route.replace(/^\/v1/, "")])) {
      for (const [method, handler] of Object.entries(handlers)) app.on(method, path, (c) => handler(c, service));
      app.all(path, (c) => wrongMethod(c, Object.keys(handlers)));
    }
  }
  app.notFound((c) => {
    const message = `There is no ${c.req.path}.`;
    return answerError(c, new HttpError(message, { status: 404, code: "not_found", type: "not_found_error" }), service);
  });
  app.onError((error, c) => answerError(c, error, service));
  return app;
}

function answerError(c: Context<Env>, error: unknown, { options }: Service): Response {
  const known = toHttpError(error);
  if (known.facts.status === 500) options.onError(error, c.get("requestId"));
  for (const [name, value] of Object.entries(known.facts.headers ?? {})) c.header(name, value);
  const isAnthropic = /^(\/v1)?\/messages\b/.test(c.req.path);
  const body = isAnthropic ? anthropicError(known, c.get("requestId")) : known.body;
  return c.json(body, known.facts.status as ContentfulStatusCode);
}

function noEmbeddings(): never {
  const message = "This model writes text and makes no embeddings. Serve a model for embeddings beside it.";
  throw new HttpError(message, { status: 501, code: "not_implemented" });
}

function wrongMethod(c: Context<Env>, methods: readonly string[]): never {
  const allow = methods.map((method) => method.toUpperCase()).join(", ");
  throw new HttpError(`${c.req.path} takes ${allow}, not ${c.req.method}.`, {
    status: 405,
    code: "method_not_allowed",
    headers: { Allow: allow },
  });
}

/** Without a socket, as in a program that calls `fetch` itself, all requests are of one client. */
function addressOf(c: Context<Env>): string {
  return "incoming" in ((c.env ?? {}) as object) ? (getConnInfo(c).remote.address ?? "unknown") : "local";
}
