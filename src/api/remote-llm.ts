import { EventChannel } from "../common/event-channel.ts";
import type { EngineStats } from "../engine/engine.ts";
import { invariant, LLMError, WorkerError } from "../errors.ts";
import { parseHubId } from "../weights/hub-id.ts";
import { generation } from "./generation.ts";
import type { HostCall, HostEvent } from "./host-calls.ts";
import type { Generation, LanguageModel } from "./llm-interface.ts";
import { type Port, type PortSource, type ToPage, type ToWorker, unpackError } from "./port.ts";
import type {
  ChatMessage,
  ChatParams,
  GenerateParams,
  GenerationEvent,
  LoadOptions,
  ModelInfo,
  ModelPlan,
  PlanOptions,
  RenderParams,
  ScoredToken,
  ScoreParams,
} from "./types.ts";

/** The part of a `Worker` that is needed here. */
export interface ModelWorker extends Port<ToWorker, ToPage> {
  addEventListener(type: "message", listener: (event: { readonly data: ToPage }) => void): void;
  addEventListener(type: "error" | "messageerror", listener: (event: { readonly message?: string }) => void): void;
  terminate(): void;
}

/** A request without its id, which the sending adds. */
type Request = ToWorker extends infer M ? (M extends { id: number } ? Omit<M, "id"> : never) : never;

/** A model in a worker: the twin of `LocalLLM` at the page's end of the port. */
export class RemoteLLM implements LanguageModel {
  readonly #worker: ModelWorker;
  readonly #open = new Map<number, EventChannel<ToPage>>();
  #info: ModelInfo | undefined;
  #nextId = 1;
  #end: Error | undefined;
  readonly #onReload: LoadOptions["onProgress"];

  private constructor(worker: ModelWorker, onReload: LoadOptions["onProgress"]) {
    this.#worker = worker;
    this.#onReload = onReload;
    worker.addEventListener("message", ({ data }) => this.#receive(data));
    const died = ({ message }: { message?: string }) =>
      this.#close(
        new WorkerError(`The worker that runs the model ended${message ? `: ${message}` : ""}. Load the model again.`),
      );
    worker.addEventListener("error", died);
    worker.addEventListener("messageerror", died);
  }

  /** @throws what `LocalLLM.load` throws in the worker; WorkerError where that cannot start */
  static async load(worker: ModelWorker, source: PortSource, options: LoadOptions = {}): Promise<RemoteLLM> {
    const { onProgress, signal, hubToken: token, ...rest } = options;
    const llm = new RemoteLLM(worker, onProgress);
    // The worker holds nothing but this model, and may be in the midst of something long.
    const abort = () => llm.#close(signal!.reason);
    signal?.addEventListener("abort", abort);
    try {
      signal?.throwIfAborted();
      const hubToken = await tokenFor(source, token);
      for await (const message of llm.#request({ kind: "load", source, options: { ...rest, hubToken } })) {
        if (message.kind === "progress") onProgress?.(message.progress);
      }
      return llm;
    } catch (error) {
      worker.terminate();
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Plans a model in a worker that ends with it. */
  static async plan(worker: ModelWorker, source: PortSource, options: PlanOptions = {}): Promise<ModelPlan> {
    const { signal, hubToken: token, ...rest } = options;
    const llm = new RemoteLLM(worker, undefined);
    // As with loading: the worker holds nothing else, and may be in the midst of something long.
    const abort = () => llm.#close(signal!.reason);
    signal?.addEventListener("abort", abort);
    try {
      signal?.throwIfAborted();
      const hubToken = await tokenFor(source, token);
      return (await llm.#call({ kind: "plan", source, options: { ...rest, hubToken } })) as ModelPlan;
    } finally {
      signal?.removeEventListener("abort", abort);
      worker.terminate();
    }
  }

  get info(): ModelInfo {
    invariant(this.#info, "info before load");
    return this.#info;
  }

  chat(messages: readonly ChatMessage[], { signal, ...params }: ChatParams = {}): Generation {
    return this.#generation({ kind: "chat", input: messages, params }, signal);
  }

  generate(prompt: string | readonly number[], { signal, ...params }: GenerateParams = {}): Generation {
    return this.#generation({ kind: "generate", input: prompt, params }, signal);
  }

  tokenize(text: string): Promise<number[]> {
    return this.#call({ kind: "tokenize", input: text }) as Promise<number[]>;
  }

  detokenize(ids: readonly number[]): Promise<string> {
    return this.#call({ kind: "detokenize", input: ids }) as Promise<string>;
  }

  render(messages: readonly ChatMessage[], params: RenderParams = {}): Promise<string> {
    return this.#call({ kind: "render", input: messages, params }) as Promise<string>;
  }

  score(ids: readonly number[], { signal, ...params }: ScoreParams = {}): Promise<ScoredToken[]> {
    return this.#call({ kind: "score", input: ids, params }, signal) as Promise<ScoredToken[]>;
  }

  stats(): Promise<EngineStats> {
    return this.#call({ kind: "stats" }) as Promise<EngineStats>;
  }

  async clearCache(): Promise<void> {
    await this.#call({ kind: "clearCache" });
  }

  /** What the model does for those who lean on it: events, and the answer at the end. */
  async *hosted(call: HostCall, signal?: AbortSignal): AsyncGenerator<HostEvent, unknown, void> {
    for await (const message of this.#request({ kind: "host", call }, signal)) {
      if (message.kind === "hosted") yield message.event;
      if (message.kind === "done") return message.value;
    }
    return undefined;
  }

  async dispose(): Promise<void> {
    if (this.#end) return;
    await this.#call({ kind: "dispose" }).catch(() => {});
    this.#close(new LLMError("The model was disposed of."));
    this.#worker.terminate();
  }

  #generation(request: Request, signal?: AbortSignal): Generation {
    const events = async function* (this: RemoteLLM): AsyncGenerator<GenerationEvent, void, void> {
      for await (const message of this.#request(request, signal)) {
        if (message.kind === "event") yield message.event;
      }
    };
    return generation(events.bind(this));
  }

  async #call(request: Request, signal?: AbortSignal): Promise<unknown> {
    for await (const message of this.#request(request, signal)) if (message.kind === "done") return message.value;
    return undefined;
  }

  /** Sends a request and gives its answers, the last of them "done". Leaving early, or `signal`, aborts it. */
  async *#request(request: Request, signal?: AbortSignal): AsyncGenerator<ToPage, void, void> {
    if (this.#end) throw this.#end;
    const id = this.#nextId++;
    const inbox = new EventChannel<ToPage>();
    const abort = () => this.#worker.postMessage({ kind: "abort", id });
    this.#worker.postMessage({ ...request, id } as ToWorker);
    this.#open.set(id, inbox);
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted) abort();
    let isDone = false;
    try {
      for await (const message of inbox) {
        isDone = message.kind === "done" || message.kind === "error";
        if (message.kind === "error") throw unpackError(message.error);
        yield message;
        if (isDone) return;
      }
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#open.delete(id);
      if (!isDone && !this.#end) abort();
    }
  }

  #receive(message: ToPage): void {
    if (message.kind === "info") this.#info = message.info;
    // A model that is loaded again, because its device was lost, reports under the id of its first loading.
    if (message.kind === "progress" && !this.#open.has(message.id)) this.#onReload?.(message.progress);
    this.#open.get(message.id)?.push(message);
  }

  #close(reason: Error): void {
    if (this.#end) return;
    this.#end = reason;
    for (const inbox of this.#open.values()) inbox.close(reason);
  }
}

/** The token as text, since functions cannot be posted; nobody is asked for it unless the model is on the Hub. */
async function tokenFor(source: PortSource, token: LoadOptions["hubToken"]): Promise<string | undefined> {
  if (typeof source !== "string" || !parseHubId(source)) return undefined;
  return typeof token === "function" ? token() : token;
}
