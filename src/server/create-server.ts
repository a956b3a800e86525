import { unlink } from "node:fs/promises";
import type { Server as HttpServer, ServerResponse } from "node:http";
import { createServer as createHttpsServer, type Server as HttpsServer } from "node:https";
import { connect } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import type { LanguageModel } from "../api/llm-interface.ts";
import { createApp } from "./app.ts";
import { CompanionLinks } from "./companion/attach.ts";
import { resolveOptions, type ServerOptions } from "./options.ts";
import { Service, type ServiceState } from "./service.ts";

export interface ListenOptions {
  /** Default 127.0.0.1: this machine only. */
  readonly host?: string;
  /** 0 leaves it to the system. Default 8000. */
  readonly port?: number;
  /** Path of a Unix socket to listen on instead. One that nobody listens on any more is replaced. */
  readonly socket?: string;
  /** Speak HTTPS. */
  readonly tls?: TlsFiles;
}

/** What HTTPS needs, in PEM; `ca` asks clients for certificates that it has signed. */
export interface TlsFiles {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
  readonly ca?: string | Buffer;
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
  /** Takes another certificate for connections to come. */
  renewCertificate(tls: TlsFiles): void;
  /**
   * Answers further requests with 503, waits until those under way have been answered (`timeoutMs`, then they are stopped),
   * and closes. The model stays.
   */
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
  const links = new CompanionLinks(service);
  const servers: (HttpServer | HttpsServer)[] = [];
  const answers = new Set<ServerResponse>();
  return {
    get state() {
      return service.state;
    },
    ready: () => service.ready(),
    fetch: async (request) => app.fetch(request),
    async listen({ host = "127.0.0.1", port = 8000, socket, tls } = {}) {
      const server = createAdaptorServer({
        fetch: app.fetch,
        ...(tls
          ? { createServer: createHttpsServer, serverOptions: { ...TIMEOUTS, ...certificate(tls) } }
          : { serverOptions: TIMEOUTS }),
      }) as HttpServer;
      server.on("request", (_, answer: ServerResponse) => {
        answers.add(answer);
        answer.on("close", () => answers.delete(answer));
      });
      if (socket !== undefined) await removeIfDead(socket);
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        if (socket === undefined) server.listen(port, host, resolve);
        else server.listen(socket, resolve);
      });
      links.attach(server);
      servers.push(server);
      const address = server.address();
      if (typeof address === "string" || address === null) return `unix:${socket}`;
      const name = address.family === "IPv6" ? `[${address.address}]` : address.address;
      return `${tls ? "https" : "http"}://${name}:${address.port}`;
    },
    renewCertificate(tls) {
      for (const server of servers) if ("setSecureContext" in server) server.setSecureContext(certificate(tls));
    },
    async close({ timeoutMs = 30_000 } = {}) {
      const deadlineMs = performance.now() + Math.max(timeoutMs, LINGER_MS);
      // While replies are being written, who asks for more is still told why there is none.
      await service.drain(timeoutMs);
      // Who has connected, and was not looked at yet, is told as well.
      await new Promise(setImmediate);
      links.close();
      const closed = servers.map((server) => new Promise((resolve) => server.close(resolve)));
      // A client may be slow at reading what has been written.
      while (answers.size > 0 && performance.now() < deadlineMs)
        await new Promise((resolve) => setTimeout(resolve, 10));
      for (const server of servers) server.closeAllConnections();
      await Promise.all(closed);
    },
  };
}

const certificate = ({ ca, ...pair }: TlsFiles) => ({ ...pair, ...(ca && { ca, requestCert: true }) });

/** A process that was killed leaves its socket's file behind. */
async function removeIfDead(path: string): Promise<void> {
  const isDead = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(false);
    });
    probe.on("error", ({ code }: NodeJS.ErrnoException) => resolve(code === "ECONNREFUSED"));
  });
  if (isDead) await unlink(path);
}

/** A long prompt may take minutes to send and to read. Pooled clients keep connections for up to a minute. */
const TIMEOUTS = { requestTimeout: 0, headersTimeout: 60_000, keepAliveTimeout: 75_000, noDelay: true };

/** For answers to be sent whose replies are done. */
const LINGER_MS = 2000;
