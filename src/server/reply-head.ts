import { randomUUID } from "node:crypto";
import type { Context } from "hono";
import type { Env } from "./respond.ts";
import type { Service } from "./service.ts";

/** What all chunks of a reply begin with. Checks the model asked for. */
export function completionHead(c: Context<Env>, service: Service, { model }: { model?: string }, prefix: string) {
  return {
    id: newId(prefix),
    object: "",
    created: Math.floor(Date.now() / 1000),
    model: modelName(c, service, model),
    system_fingerprint: `sluice-${service.options.version}`,
  };
}

export const newId = (prefix: string): string => `${prefix}${randomUUID().replaceAll("-", "")}`;

/** The name that the reply carries: as it was asked for where it is known. Fails with 404, or warns in a header. */
export function modelName(c: Context<Env>, { names }: Service, asked: string | undefined): string {
  const warning = names.check(asked);
  if (warning !== undefined) c.header("X-Sluice-Warning", warning.replace(/[^\x20-\x7e]/g, "?"));
  return asked !== undefined && names.isKnown(asked) ? asked : names.first;
}
