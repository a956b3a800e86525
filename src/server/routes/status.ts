import type { Context } from "hono";
import type { Env } from "../respond.ts";
import type { Service } from "../service.ts";

/** `GET /health`: 200 once the model can answer. */
export function health(c: Context<Env>, service: Service): Response {
  service.check();
  return c.json({ status: "ok" });
}

/** `GET /metrics` */
export async function metrics(c: Context<Env>, { metrics: all }: Service): Promise<Response> {
  return c.body(await all.text(), 200, { "Content-Type": all.contentType });
}

/** `GET /version` */
export const version = (c: Context<Env>, { options }: Service): Response => c.json({ version: options.version });
