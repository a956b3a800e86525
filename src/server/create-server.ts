import type { Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { LanguageModel } from "../api/llm-interface.ts";
import { createApp } from "./app.ts";
import { resolveOptions, type ServerOptions } from "./options.ts";
import { Service, type ServiceState } from "./service.ts";

export interface ListenOptions {
  /** Default 127.0.0.1: this machine only. */
  readonly host?: string;
  /** 0 leaves the choice to the system. Default 8000. */
  readonly port?: number;
}

/** An OpenAI-compatible server around a model. */
export interface LLMServer {
  readonly state: ServiceState;
  /** Settles when the model is loaded and has run its longest step; fails with what its loading failed with. */
  ready(): Promise<void>;
  /** Answers a request: for programs with a server of their own. */
  fetch(request: Request): Promise<Response>;
  /** Listens, and gives the address, such as "http://127.0.0.1:8000". */
  listen(options?: ListenOptions): Promise<string>;
  /** Takes no further requests, waits for those under way (stopped after `timeoutMs`), and closes. The model stays. */
  close(options?: { readonly timeoutMs?: number }): Promise<void>;
}

/**
 * Serves a model. It may still be loading: until it is there, requests are answered 503.
 *
 * @example
 * const server = createServer(LLM.load("models/sprout"), { apiKeys: ["secret"] });
 * console.log(await server.listen({ port: 8000 }));
 */
export function createServer(llm: LanguageModel | Promise<LanguageModel>, options: ServerOptions = {}): LLMServer {
  const service = new Service(llm, resolveOptions(options));
  const app = createApp(service);
  const servers: HttpServer[] = [];
  return {
    get state() {
      return service.state;
    },
    ready: () => service.ready(),
    fetch: async (request) => app.fetch(request),
    async listen({ host = "127.0.0.1", port = 8000 } = {}) {
      const server = createAdaptorServer({ fetch: app.fetch, serverOptions: TIMEOUTS }) as HttpServer;
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, host, resolve);
      });
      servers.push(server);
      const address = server.address() as AddressInfo;
      return `http://${address.family === "IPv6" ? `[${address.address}]` : address.address}:${address.port}`;
    },
    async close({ timeoutMs = 30_000 } = {}) {
      const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
      await service.drain(timeoutMs);
      // Connections are idle once their last reply has been read; a client may be slow at that, or keep silent.
      const idle = setInterval(() => {
        for (const server of servers) server.closeIdleConnections();
      }, 20);
      const late = setTimeout(() => {
        for (const server of servers) server.closeAllConnections();
      }, LINGER_MS);
      await Promise.all(closed);
      clearInterval(idle);
      clearTimeout(late);
    },
  };
}

/** A long prompt may take minutes to send and to read. Pooled clients keep connections for up to a minute. */
const TIMEOUTS = { requestTimeout: 0, headersTimeout: 60_000, keepAliveTimeout: 75_000, noDelay: true };

const LINGER_MS = 2000;
