import type { WebSocket } from "ws";
import type { ModelHost } from "../../api/model-host.ts";
import { packError } from "../../api/port.ts";
import { decodeFrame, encodeFrame, type Frame, floats, type Numbers, words } from "../../companion/frames.ts";
import { type FromCompanion, type Gone, VERSION } from "../../companion/protocol.ts";
import { CompanionError, InvalidRequestError, WorkerError, WorkerLostError } from "../../errors.ts";
import type { LayerHost } from "../../runner/layer-host.ts";
import { HttpError } from "../http-error.ts";
import type { Service } from "../service.ts";
import type { LayerStates } from "./layer-states.ts";
import { malformed } from "./malformed.ts";
import { hello, type Message, message } from "./messages.ts";

export interface SessionUse {
  readonly service: Service;
  /** Who asks: an address, until a key says more. */
  readonly address: string;
  readonly origin: string | undefined;
  /** Fails with `CompanionError` for an origin that may not ask. */
  readonly checkOrigin: (origin: string | undefined) => void;
  /** Takes a place for the client, and gives what frees it. Fails with `CompanionError` where there is none. */
  readonly enter: (client: string) => () => void;
  readonly host: () => Promise<{ readonly host: ModelHost; readonly tokensPerSecond: number }>;
  readonly layers: LayerStates;
  readonly maxFrameBytes: number;
  readonly log: (line: string) => void;
}

/** Requests of one connection under way at once. */
const MAX_OPEN = 64;

/** A hello has to come within this time, and be no longer. */
const HELLO_MS = 5000;
const HELLO_BYTES = 8192;

/** Bytes that a client has not taken yet, before it is told more. */
const MAX_BUFFERED = 2 ** 20;

/** Codes of a connection that its client ends: by itself, or with its page. */
const MEANT = [1000, 1001];

/** One client's connection. What it should not have said ends it with one typed error; nothing else notices. */
export class Session {
  readonly #socket: WebSocket;
  readonly #use: SessionUse;
  readonly #open = new Map<number, AbortController>();
  #client: string | undefined;
  #host: ModelHost | undefined;
  #leave = () => {};
  #isOver = false;
  #isGreeting = false;

  constructor(socket: WebSocket, use: SessionUse) {
    this.#socket = socket;
    this.#use = use;
    socket.binaryType = "arraybuffer";
    const late = setTimeout(() => {
      if (this.#client === undefined) this.fail(new CompanionError("malformed", "No hello came."));
    }, HELLO_MS);
    socket.on("message", (data, isBinary) => {
      this.#receive(isBinary ? (data as ArrayBuffer) : undefined).catch((error) => this.fail(error));
    });
    // A frame that is too large, or not WebSocket at all: ws closes the connection, and tells why here.
    socket.on("error", (error) => this.fail(new CompanionError("malformed", error.message)));
    socket.on("close", (code) => {
      clearTimeout(late);
      this.#end(MEANT.includes(code));
    });
  }

  /** Ends the connection with an error. */
  fail(error: unknown): void {
    if (this.#isOver) return;
    // The page makes its link again and goes on from its own tokens, with another worker.
    if (isLoss(error)) {
      this.#socket.terminate();
      return;
    }
    const known = error instanceof HttpError ? refusal(error) : error;
    const { address, service, log } = this.#use;
    if (known instanceof CompanionError) log(`companion link of ${this.#client ?? address}: ${known.message}`);
    else service.options.onError(error, "companion link");
    this.#send({ kind: "error", error: withoutStack(known) });
    this.#end();
    this.#socket.close(1008, known instanceof CompanionError ? known.reason : "error");
    // Who does not answer the closing is gone.
    const late = setTimeout(() => this.#socket.terminate(), 1000);
    this.#socket.once("close", () => clearTimeout(late));
  }

  /** The server stops: what is under way is ended. */
  close(): void {
    this.#end();
    this.#socket.close(1001, "the server stops");
    setTimeout(() => this.#socket.terminate(), 500).unref();
  }

  async #receive(data: ArrayBuffer | undefined): Promise<void> {
    if (this.#isOver) return;
    const frame = read(data);
    if (!this.#host) return this.#greet(frame);
    const parsed = message.safeParse(frame.header);
    if (!parsed.success) throw malformed(parsed.error.issues[0].message);
    const request = parsed.data;
    if (request.kind === "abort") {
      this.#open.get(request.id)?.abort();
      return;
    }
    const { id } = request;
    if (this.#open.has(id)) throw malformed(`two requests are called ${id}.`);
    if (this.#open.size > MAX_OPEN) throw new CompanionError("busy", `More than ${MAX_OPEN} requests at once.`);
    const abort = new AbortController();
    this.#open.set(id, abort);
    try {
      await this.#answer(request, frame.payload, abort.signal);
    } catch (error) {
      if (error instanceof CompanionError && error.reason === "malformed") throw error;
      if (isLoss(error)) throw error;
      const { service } = this.#use;
      if (!(error instanceof Error) || error.constructor === Error) service.options.onError(error, `companion ${id}`);
      this.#send({ kind: "error", id, error: withoutStack(error instanceof HttpError ? refusal(error) : error) });
    } finally {
      this.#open.delete(id);
    }
  }

  async #greet({ header, payload }: Frame): Promise<void> {
    if (this.#isGreeting) throw malformed("the first frame is to be answered before others are sent.");
    this.#isGreeting = true;
    const { service, address, origin, checkOrigin, enter, maxFrameBytes } = this.#use;
    if (header.kind !== "hello" || payload.byteLength > HELLO_BYTES) throw malformed("the first one is no hello.");
    if (header.version !== VERSION) {
      const message = `The page speaks version ${header.version} and this server ${VERSION}; update the older one.`;
      throw new CompanionError("version", message);
    }
    const greeting = hello.safeParse(header);
    if (!greeting.success) throw malformed(greeting.error.issues[0].message);
    checkOrigin(origin);
    const { key } = greeting.data;
    const headers = new Headers(key === undefined ? {} : { "x-api-key": key });
    const client = service.keys.check(headers) ?? address;
    service.check();
    this.#leave = enter(client);
    this.#client = client;
    const { host, tokensPerSecond } = await this.#use.host();
    this.#host = host;
    const { fingerprint, info, experts, lacks } = host;
    this.#send({
      kind: "welcome",
      version: VERSION,
      fingerprint,
      label: service.names.first,
      maxContext: info.maxContext,
      experts: experts?.shape,
      layers: host.layers && sizesOf(host.layers),
      lacks,
      tokensPerSecond,
      maxOpen: MAX_OPEN,
      maxFrameBytes,
    });
  }

  async #answer(request: Exclude<Message, { kind: "abort" }>, payload: Frame["payload"], signal: AbortSignal) {
    const { id } = request;
    const { service, layers } = this.#use;
    // A link is well however long the model takes, and beats go on meanwhile.
    if (request.kind === "ping") return this.#send({ kind: "done", id }, payload);
    // The model may have been loaded anew since the hello.
    const { host } = await this.#use.host();
    this.#host = host;
    const { engine } = host;
    switch (request.kind) {
      case "stats":
        return this.#send({ kind: "done", id, value: await engine.stats() });
      case "sum":
        return this.#sum(request, payload);
      case "open": {
        service.check();
        await layers.open(this.#client!, this, host.layers, request);
        return this.#send({ kind: "done", id });
      }
      case "step":
        return this.#step(request, payload);
      case "generate":
        return this.#generate(request, payload, signal);
    }
  }

  async #sum({ id, layer, rows }: Extract<Message, { kind: "sum" }>, payload: Frame["payload"]): Promise<void> {
    const { experts } = this.#host!;
    if (!experts) throw new CompanionError("model", "This companion computes no experts; it writes whole replies.");
    const { hidden, topK, layers, experts: count } = experts.shape;
    if (layer >= layers || payload.byteLength !== 4 * rows * (hidden + 2 * topK)) {
      throw malformed(`${payload.byteLength} bytes are not ${rows} rows of layer ${layer}.`);
    }
    const [xEnd, idsEnd] = [4 * rows * hidden, 4 * rows * (hidden + topK)];
    const ids = words(payload.subarray(xEnd, idsEnd));
    if (ids.some((expert) => expert >= count)) throw malformed(`a layer has ${count} experts.`);
    const x = floats(payload.subarray(0, xEnd));
    const sums = await experts.sum(layer, { x, ids, weights: floats(payload.subarray(idsEnd)) });
    await this.#drained();
    this.#send({ kind: "done", id }, sums);
  }

  async #step(request: Extract<Message, { kind: "step" }>, payload: Frame["payload"]): Promise<void> {
    const { id } = request;
    const rows = await this.#use.layers.step(this.#client!, this, request, floats(payload));
    await this.#drained();
    if (rows) this.#send({ kind: "done", id }, rows);
    else this.#send({ kind: "done", id, value: { isGone: true } satisfies Gone });
  }

  async #generate(
    {
      id,
      promptTokens,
      replyTokens,
      maskWords,
      boundaries,
      logits,
      score,
      sampling,
    }: Extract<Message, { kind: "generate" }>,
    payload: Frame["payload"],
    signal: AbortSignal,
  ): Promise<void> {
    const { service } = this.#use;
    const numbers = words(payload);
    if (numbers.length !== promptTokens + replyTokens + maskWords)
      throw malformed("the tokens are not as many as said.");
    const { vocabulary } = this.#host!.info;
    if (maskWords > 0 && maskWords < Math.ceil(vocabulary / 32)) throw malformed("the mask is too short.");
    if (sampling.logitBias.some(([token]) => token >= vocabulary)) {
      throw new InvalidRequestError("logitBias", `token ids go from 0 to ${vocabulary - 1}.`);
    }
    service.check();
    const leave = service.gate.enter(this.#client!, 1);
    const metrics = service.metrics.reply();
    const givenEnd = promptTokens + replyTokens;
    const mask = maskWords > 0 ? numbers.slice(givenEnd) : undefined;
    let count = replyTokens;
    try {
      const events = this.#host!.engine.generate({
        prompt: Array.from(numbers.subarray(0, promptTokens)),
        reply: Array.from(numbers.subarray(promptTokens, givenEnd)),
        sampling: { ...sampling, logitBias: new Map(sampling.logitBias) },
        boundaries,
        logits,
        mask: mask && (() => mask),
        score: score
          ? (logits, position) => this.#send({ kind: "event", id, event: { kind: "scored", position } }, logits)
          : undefined,
        signal,
      });
      for await (const event of events) {
        await this.#drained();
        if (event.kind === "prefill") {
          metrics.admitted(event.total);
          this.#send({ kind: "event", id, event });
          continue;
        }
        metrics.tokens(1);
        count++;
        const { logits, ...sampled } = event.sampled;
        this.#send({ kind: "event", id, event: { kind: "token", sampled } }, ...(logits ? [logits] : []));
      }
      this.#send({ kind: "done", id });
      metrics.ended(signal.aborted ? "abort" : count >= sampling.maxTokens ? "length" : "stop");
    } finally {
      metrics.ended(signal.aborted ? "abort" : "error");
      leave();
    }
  }

  /** Waits until the client has taken what it was sent. */
  async #drained(): Promise<void> {
    while (this.#socket.bufferedAmount > MAX_BUFFERED && !this.#isOver) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  #send(message: FromCompanion, ...parts: readonly Numbers[]): void {
    if (this.#isOver || this.#socket.readyState !== this.#socket.OPEN) return;
    this.#socket.send(encodeFrame(message, ...parts));
  }

  /** Of a link that was closed on purpose nothing is kept. */
  #end(isMeant = false): void {
    if (isMeant) this.#use.layers.forget(this);
    else this.#use.layers.leave(this);
    if (this.#isOver) return;
    this.#isOver = true;
    for (const abort of this.#open.values()) abort.abort();
    this.#leave();
  }
}

function read(data: ArrayBuffer | undefined): Frame {
  if (!data) throw malformed("it is text.");
  try {
    return decodeFrame(data);
  } catch (error) {
    throw malformed((error as Error).message);
  }
}

const isLoss = (error: unknown) => error instanceof WorkerError || error instanceof WorkerLostError;

const sizesOf = ({ count, hidden, maxBatchTokens }: LayerHost) => ({ count, hidden, maxBatchTokens });

/** What HTTP would answer, to a client that knows no statuses. */
function refusal(error: HttpError): CompanionError {
  const { status } = error.facts;
  const reason = status === 401 ? "refused" : status === 429 || status === 503 ? "busy" : "malformed";
  return new CompanionError(reason, error.message);
}

const withoutStack = (error: unknown) => ({ ...packError(error), stack: undefined });
