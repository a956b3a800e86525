import type { CompanionMode, CompanionOptions } from "sluice";
import type { Problem } from "./problems.ts";

/** Which companion to lean on, and how. */
export interface CompanionChoice {
  /** Scheme, host and port. */
  readonly url: string;
  readonly key: string;
  readonly way: Way;
}

/** `none`: the link was measured, and this device does everything. */
export type Way = "auto" | "none" | CompanionMode;

const names: Readonly<Record<string, string>> = {
  auto: "The fastest",
  requests: "Whole replies",
  experts: "Experts",
  layers: "Layers",
  none: "This device alone",
};

/** What is left to a companion, in a word or two. */
export const wayName = (way: string): string => names[way] ?? way;

/** What is asked of the package. */
export function companionOptions({ url, key, way }: CompanionChoice): CompanionOptions | undefined {
  return way === "none" ? undefined : { url, key: key || undefined, mode: way };
}

/** What somebody typed to name a companion; `page` is the page's own address, which browsers judge others by. */
export function parseCompanion(typed: string, page: string): { readonly url: string } | { readonly problem: Problem } {
  const text = typed.trim();
  const scheme = isLoopback(text.replace(/:\d+$/, "")) ? "http" : "https";
  const address = /^\w+:\/\//.test(text) ? text : `${scheme}://${text}`;
  const url = URL.canParse(address) ? new URL(address) : undefined;
  if (text === "" || !url || !/^https?:$/.test(url.protocol)) {
    return fault("address", "Give the address of a server, such as https://host:8000.");
  }
  if (url.username || url.password || url.search || url.hash) {
    return fault("address", "The address is a host and a port alone; the key has a field of its own.");
  }
  if (new URL(page).protocol === "https:" && url.protocol === "http:" && !isLoopback(url.hostname)) {
    return fault(
      "mixed",
      `This page came over https, and browsers let such a page reach ${url.host} over https only. Start the server with a certificate (--ssl-certfile), or behind a proxy that has one.`,
    );
  }
  return { url: url.origin };
}

/** Whether others on the way could read along. */
export const isOpen = (url: string): boolean => url.startsWith("http:") && !isLoopback(new URL(url).hostname);

const isLoopback = (host: string): boolean => /^(localhost|127(\.\d+){3}|\[::1\])$/.test(host);

const fault = (what: string, message: string) => ({ problem: { kind: `CompanionError.${what}`, message } });
