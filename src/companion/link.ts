import type { LinkState } from "../api/types.ts";
import { EventChannel } from "../common/event-channel.ts";
import { pause } from "../common/waiting.ts";
import { CompanionError, LLMError } from "../errors.ts";
import { decodeFrame, encodeFrame, type Frame, FrameError, type Numbers } from "./frames.ts";
import { type ErrorParts, PATH, type ToCompanion, VERSION, type Welcome } from "./protocol.ts";

/** The part of a `WebSocket` that is needed here. */
export interface Socket {
  binaryType: string;
  readonly bufferedAmount: number;
  send(data: Uint8Array<ArrayBuffer>): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "open" | "close" | "error", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
}

export type OpenSocket = (url: string) => Socket;

export interface LinkOptions {
  /** http(s)://host:port of the server. */
  readonly url: string;
  readonly key?: string;
  readonly openSocket: OpenSocket;
  /** Makes an error of what the server sent of one. */
  readonly unpackError: (parts: ErrorParts) => Error;
  /** How long a link that broke may take to stand again. Default 4 s. */
  readonly patienceMs?: number;
  /** Silence after which a link counts as broken. Default 4 s. */
  readonly silenceMs?: number;
}

type Request = ToCompanion extends infer M ? (M extends { id: number } ? Omit<M, "id"> : never) : never;

/** The link broke before an answer was whole: ask again where that does no harm. */
export class BrokenLink extends Error {}

/** Bytes that wait in the socket before more is given to it. */
const MAX_BUFFERED = 2 ** 20;

/** Signs of life that may be missing, one after the other, before a link counts as broken. */
const BEATS = 4;

const FIRST_DELAY_MS = 40;
const LAST_DELAY_MS = 1000;

interface Connection {
  readonly socket: Socket;
  readonly welcome: Welcome;
}

/** A WebSocket to a companion, opened again when it breaks. Requests under way then fail with `BrokenLink`. */
export class Link {
  readonly #options: Required<Omit<LinkOptions, "key">> & Pick<LinkOptions, "key">;
  readonly #open = new Map<number, EventChannel<Frame>>();
  #connection: Connection | undefined;
  #connecting: Promise<Connection> | undefined;
  #nextId = 1;
  /** Beats since something was heard. */
  #quiet = 0;
  #heartbeat: ReturnType<typeof setInterval> | undefined;
  #isClosed = false;
  readonly #waiting: (() => void)[] = [];
  readonly counts = { sentBytes: 0, receivedBytes: 0, reconnects: 0 };

  private constructor({ patienceMs = 4000, silenceMs = 4000, ...options }: LinkOptions) {
    this.#options = { ...options, patienceMs, silenceMs };
  }

  /** @throws CompanionError */
  static async open(options: LinkOptions): Promise<Link> {
    const link = new Link(options);
    await link.ready();
    return link;
  }

  /** What the server has said of itself, last. */
  get welcome(): Welcome {
    return this.#welcome!;
  }
  #welcome: Welcome | undefined;

  get state(): LinkState {
    if (this.#connection) return "connected";
    return this.#connecting ? "reconnecting" : "lost";
  }

  /** Waits until the link stands. @throws CompanionError where it is refused, or does not stand within the patience */
  async ready(): Promise<void> {
    if (this.#isClosed) throw new LLMError("The model was disposed of.");
    if (this.#connection) return;
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = undefined;
    });
    await this.#connecting;
  }

  /**
   * Sends a request and gives its answers, the last of them `done`. Leaving early, or `signal`, aborts it.
   *
   * @throws BrokenLink, CompanionError, and what the request fails with on the server
   */
  async *request(
    header: Request,
    parts: readonly Numbers[] = [],
    signal?: AbortSignal,
  ): AsyncGenerator<Frame, void, void> {
    await this.ready();
    while (this.#open.size >= this.welcome.maxOpen) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const id = this.#nextId++;
    const connection = this.#connection;
    if (!connection) throw new BrokenLink();
    const inbox = new EventChannel<Frame>();
    this.#open.set(id, inbox);
    const abort = () => this.#send(connection, { kind: "abort", id });
    signal?.addEventListener("abort", abort, { once: true });
    let isDone = false;
    try {
      while (connection.socket.bufferedAmount > MAX_BUFFERED) {
        await pause(2);
        if (this.#connection !== connection) throw new BrokenLink();
      }
      this.#send(connection, { ...header, id } as ToCompanion, parts);
      if (signal?.aborted) abort();
      for await (const frame of inbox) {
        const { kind, error } = frame.header;
        isDone = kind === "done" || kind === "error";
        if (kind === "error") throw this.#options.unpackError(error as ErrorParts);
        yield frame;
        if (isDone) return;
      }
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#open.delete(id);
      this.#waiting.shift()?.();
      if (!isDone) abort();
    }
  }

  /** The one answer of a request that has one; asked again where the link breaks, so it must do no harm twice. */
  async call(header: Request, parts: readonly Numbers[] = []): Promise<Frame> {
    for (;;) {
      try {
        for await (const frame of this.request(header, parts)) return frame;
      } catch (error) {
        if (!(error instanceof BrokenLink)) throw error;
      }
    }
  }

  close(): void {
    this.#isClosed = true;
    const socket = this.#connection?.socket;
    this.#drop(new LLMError("The model was disposed of."));
    socket?.close(1000);
  }

  #send(connection: Connection, message: ToCompanion, parts: readonly Numbers[] = []): void {
    if (this.#connection !== connection) return;
    const frame = encodeFrame(message, ...parts);
    this.counts.sentBytes += frame.byteLength;
    connection.socket.send(frame);
  }

  /** Tries until it stands, longer and longer apart. */
  async #connect(): Promise<Connection> {
    const { patienceMs } = this.#options;
    const isFirst = this.#welcome === undefined;
    const deadline = performance.now() + patienceMs;
    for (let delay = FIRST_DELAY_MS; ; delay = Math.min(2 * delay, LAST_DELAY_MS)) {
      try {
        const connection = await this.#attempt(Math.max(deadline - performance.now(), 1));
        if (this.#isClosed) {
          connection.socket.close(1000);
          throw new LLMError("The model was disposed of.");
        }
        if (!isFirst) this.counts.reconnects++;
        return connection;
      } catch (error) {
        // A server that has just been started, or is about to stop, may soon be another.
        const isPassing = error instanceof BrokenLink || (!isFirst && isBusy(error));
        if (!isPassing) throw error;
        if (this.#isClosed) throw new LLMError("The model was disposed of.");
        const wait = delay * (0.5 + Math.random());
        if (performance.now() + wait < deadline) {
          await pause(wait);
          continue;
        }
        const { url } = this.#options;
        if (isFirst) {
          const hint =
            "Is `sluice serve` running there, and may this page reach it? A page of https reaches only https, and localhost.";
          throw new CompanionError("unreachable", `The companion ${url} is not reached. ${hint}`);
        }
        throw new CompanionError("lost", `The link to the companion ${url} broke, and could not be made again.`);
      }
    }
  }

  #attempt(timeoutMs: number): Promise<Connection> {
    const { url, key, openSocket, unpackError, silenceMs } = this.#options;
    return new Promise((resolve, reject) => {
      const address = new URL(PATH, url);
      address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
      let socket: Socket;
      try {
        socket = openSocket(address.href);
      } catch (cause) {
        reject(
          new CompanionError("unreachable", `${url} cannot be a companion: ${(cause as Error).message}`, { cause }),
        );
        return;
      }
      socket.binaryType = "arraybuffer";
      const timer = setTimeout(() => end(new BrokenLink()), timeoutMs);
      let connection: Connection | undefined;
      const end = (reason: Error) => {
        clearTimeout(timer);
        reject(reason);
        if (connection && this.#connection === connection) this.#drop(reason);
        socket.close();
      };
      socket.addEventListener("open", () => {
        const hello = encodeFrame({ kind: "hello", version: VERSION, key });
        this.counts.sentBytes += hello.byteLength;
        socket.send(hello);
      });
      socket.addEventListener("close", () => end(new BrokenLink()));
      socket.addEventListener("error", () => end(new BrokenLink()));
      socket.addEventListener("message", ({ data }) => {
        this.#quiet = 0;
        const frame = readFrame(data);
        if (frame instanceof Error) return end(frame);
        this.counts.receivedBytes += (data as ArrayBuffer).byteLength;
        const { header } = frame;
        if (header.kind === "error" && header.id === undefined) return end(unpackError(header.error as ErrorParts));
        if (header.kind !== "welcome") {
          this.#open.get(header.id as number)?.push(frame);
          return;
        }
        clearTimeout(timer);
        const welcome = header as unknown as Welcome;
        connection = { socket, welcome };
        this.#welcome = welcome;
        this.#connection = connection;
        clearInterval(this.#heartbeat);
        this.#heartbeat = setInterval(() => this.#beat(connection!, end), silenceMs / BEATS);
        resolve(connection);
      });
    });
  }

  /**
   * Asks for a sign of life after some silence, and gives up after more. That is counted in beats, not by the clock: where
   * this side itself stood still, what came meanwhile was not heard yet, and nobody was silent.
   */
  #beat(connection: Connection, end: (reason: Error) => void): void {
    this.#quiet++;
    if (this.#quiet > BEATS) end(new BrokenLink());
    else if (this.#quiet > 1) this.#send(connection, { kind: "ping", id: 0 });
  }

  /** The connection is gone; whoever waits for an answer learns it. */
  #drop(reason: Error): void {
    clearInterval(this.#heartbeat);
    this.#connection = undefined;
    for (const inbox of this.#open.values()) inbox.close(reason);
    for (const wake of this.#waiting.splice(0)) wake();
    // Made again at once: who asks next finds it standing, or is told what came of it.
    if (reason instanceof BrokenLink) this.ready().catch(() => {});
  }
}

function readFrame(data: unknown): Frame | CompanionError {
  try {
    if (!(data instanceof ArrayBuffer)) throw new FrameError("it is text.");
    return decodeFrame(data);
  } catch (error) {
    return new CompanionError("malformed", `The companion sent what is no frame: ${(error as Error).message}`);
  }
}

const isBusy = (error: unknown) => error instanceof CompanionError && error.reason === "busy";
