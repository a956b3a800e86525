import type { Context, MiddlewareHandler } from "hono";
import { cors } from "hono/cors";
import { HttpError } from "./http-error.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Env } from "./respond.ts";
import type { Service } from "./service.ts";

/**
 * Which pages may ask: those of this machine, and those of the origins listed. A page may send what it likes to any address
 * that its browser reaches, and is only kept from reading the answer; so where no key is wanted, others are refused.
 */
export function origins({ options, keys }: Service): MiddlewareHandler<Env>[] {
  const isAllowed = (origin: string) => isAllowedOrigin(options, origin);
  const refuse = async (c: Context<Env>, next: () => Promise<void>) => {
    const origin = c.req.header("origin");
    if (origin !== undefined && keys.count === 0 && !isAllowed(origin)) {
      const message = `Pages of ${origin} may not ask. Start the server with --allowed-origins ${origin}, or with a key.`;
      throw new HttpError(message, { status: 403, code: "origin_not_allowed", type: "authentication_error" });
    }
    await next();
  };
  const answer = cors({
    origin: (origin) => (isAllowed(origin) ? (options.allowedOrigins.includes("*") ? "*" : origin) : undefined),
    exposeHeaders: ["X-Request-Id", "Retry-After", "X-Sluice-Warning"],
    maxAge: 86_400,
  });
  return [answer, refuse];
}

export const isAllowedOrigin = ({ allowedOrigins }: Pick<ResolvedOptions, "allowedOrigins">, origin: string): boolean =>
  allowedOrigins.includes("*") || allowedOrigins.includes(origin) || isLoopback(origin);

/** Whether an origin is of this machine, whatever its port. */
function isLoopback(origin: string): boolean {
  const host = URL.canParse(origin) ? new URL(origin).hostname : "";
  return host === "localhost" || host === "[::1]" || /^127(\.\d+){3}$/.test(host);
}
