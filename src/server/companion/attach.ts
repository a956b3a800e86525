import type { IncomingMessage, Server } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import type { ModelHost } from "../../api/model-host.ts";
import { PATH } from "../../companion/protocol.ts";
import { CompanionError } from "../../errors.ts";
import { isAllowedOrigin } from "../origins.ts";
import type { Service } from "../service.ts";
import { LayerStates } from "./layer-states.ts";
import { measureHost } from "./measure-host.ts";
import { Session } from "./session.ts";

/** Bytes of a frame: a thousand rows of 4096. */
const MAX_FRAME_BYTES = 16 * 2 ** 20;

/** Links of one key, or of one address where there are no keys. */
const MAX_LINKS = 32;

/** A link that has not answered two of these is gone. */
const BEAT_MS = 10_000;

/** Links of pages and programs that lean on this server's model. */
export class CompanionLinks {
  readonly #service: Service;
  readonly #sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_FRAME_BYTES, perMessageDeflate: false });
  readonly #sessions = new Set<Session>();
  readonly #linksOf = new Map<string, number>();
  readonly #layers: LayerStates;
  #speed: Promise<number> | undefined;

  constructor(service: Service) {
    this.#service = service;
    this.#layers = new LayerStates(service.options.maxStateBytesPerClient);
  }

  attach(server: Server): void {
    server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on("error", () => socket.destroy());
      if (request.url?.split("?")[0] !== PATH) {
        socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        return;
      }
      this.#sockets.handleUpgrade(request, socket, head, (link) => this.#accept(link, request));
    });
  }

  close(): void {
    for (const session of this.#sessions) session.close();
    this.#layers.dispose();
  }

  #accept(socket: WebSocket, request: IncomingMessage): void {
    const { options } = this.#service;
    let host: ModelHost | undefined;
    const session = new Session(socket, {
      service: this.#service,
      address: request.socket.remoteAddress ?? "local",
      origin: request.headers.origin,
      checkOrigin: (origin) => {
        if (origin === undefined || isAllowedOrigin(options, origin)) return;
        const hint = `Start the server with --allowed-origins ${origin}.`;
        throw new CompanionError("refused", `Pages of ${origin} may not lean on this server. ${hint}`);
      },
      enter: (client) => this.#enter(client),
      host: async () => {
        host = await this.#host(host);
        this.#speed ??= this.#measure(host);
        return { host, tokensPerSecond: await this.#speed };
      },
      layers: this.#layers,
      maxFrameBytes: MAX_FRAME_BYTES,
      log: options.onRefusedLink,
    });
    this.#sessions.add(session);
    let isAlive = true;
    socket.on("pong", () => {
      isAlive = true;
    });
    const beat = setInterval(() => {
      if (!isAlive) return socket.terminate();
      isAlive = false;
      socket.ping();
    }, BEAT_MS);
    socket.on("close", () => {
      clearInterval(beat);
      this.#sessions.delete(session);
    });
  }

  #enter(client: string): () => void {
    const links = this.#linksOf.get(client) ?? 0;
    if (links >= MAX_LINKS) throw new CompanionError("busy", `${links} links stand already, which is the most.`);
    this.#linksOf.set(client, links + 1);
    let isInside = true;
    return () => {
      if (!isInside) return;
      isInside = false;
      const left = this.#linksOf.get(client)! - 1;
      if (left > 0) this.#linksOf.set(client, left);
      else this.#linksOf.delete(client);
    };
  }

  async #measure(host: ModelHost): Promise<number> {
    try {
      return await measureHost(host);
    } catch (error) {
      // A worker may have ended; the next link measures another.
      this.#speed = undefined;
      throw error;
    }
  }

  async #host(before: ModelHost | undefined): Promise<ModelHost> {
    const { llm } = this.#service as { llm: { host?(before?: ModelHost): Promise<ModelHost> } };
    if (llm.host) return llm.host(before);
    throw new CompanionError("model", "The model of this server does not run in it, so nobody can lean on it.");
  }
}
