import * as errors from "../errors.ts";
import type { HostCall, HostEvent } from "./host-calls.ts";
import type {
  ChatMessage,
  ChatParams,
  GenerateParams,
  GenerationEvent,
  LoadOptions,
  LoadProgress,
  ModelInfo,
  PlanOptions,
  RenderParams,
  ScoreParams,
} from "./types.ts";

/** What a page tells the worker that runs its model. `id` names a request, and its answers. */
export type ToWorker =
  | { readonly kind: "load"; readonly id: number; readonly source: PortSource; readonly options: PortLoadOptions }
  | { readonly kind: "chat"; readonly id: number; readonly input: readonly ChatMessage[]; readonly params: ChatParams }
  | {
      readonly kind: "generate";
      readonly id: number;
      readonly input: string | readonly number[];
      readonly params: GenerateParams;
    }
  | { readonly kind: "tokenize"; readonly id: number; readonly input: string }
  | { readonly kind: "detokenize"; readonly id: number; readonly input: readonly number[] }
  | {
      readonly kind: "render";
      readonly id: number;
      readonly input: readonly ChatMessage[];
      readonly params: RenderParams;
    }
  | { readonly kind: "score"; readonly id: number; readonly input: readonly number[]; readonly params: ScoreParams }
  | { readonly kind: "plan"; readonly id: number; readonly source: PortSource; readonly options: PortPlanOptions }
  | { readonly kind: "stats"; readonly id: number }
  | { readonly kind: "clearCache"; readonly id: number }
  | { readonly kind: "host"; readonly id: number; readonly call: HostCall }
  | { readonly kind: "abort"; readonly id: number }
  | { readonly kind: "dispose"; readonly id: number };

export type ToPage =
  | { readonly kind: "progress"; readonly id: number; readonly progress: LoadProgress }
  | { readonly kind: "info"; readonly id: number; readonly info: ModelInfo }
  | { readonly kind: "event"; readonly id: number; readonly event: GenerationEvent }
  | { readonly kind: "hosted"; readonly id: number; readonly event: HostEvent }
  | { readonly kind: "done"; readonly id: number; readonly value?: unknown }
  | { readonly kind: "error"; readonly id: number; readonly error: PortError };

/** A source that can be posted: an absolute URL, or files. */
export type PortSource = string | readonly File[];
export type PortLoadOptions = Omit<LoadOptions, "onProgress" | "signal" | "hubToken"> & { readonly hubToken?: string };

export type PortPlanOptions = Omit<PlanOptions, "signal" | "hubToken"> & { readonly hubToken?: string };

/** What a worker and a page have in common with a `MessagePort`. */
export interface Port<Out, In> {
  postMessage(message: Out): void;
  addEventListener(type: "message", listener: (event: { readonly data: In }) => void): void;
}

/** An error in parts: structured cloning would drop its class. */
export interface PortError {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

export function packError(error: unknown): PortError {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  const facts = Object.entries(error instanceof errors.LLMError ? error : {}).filter(
    ([key]) => key !== "name" && key !== "cause",
  );
  return { name, message, stack, facts: Object.fromEntries(facts) };
}

/** The error as the class it left, so that `instanceof` holds on both sides. */
export function unpackError({ name, message, stack, facts }: PortError): Error {
  if (name === "AbortError") return new DOMException(message, name);
  const known = (errors as Record<string, unknown>)[name] as typeof Error | undefined;
  const prototype = known?.prototype instanceof Error ? known.prototype : Error.prototype;
  const error: Error = Object.create(prototype);
  const own = { name, message, stack, ...facts };
  for (const [key, value] of Object.entries(own)) {
    Object.defineProperty(error, key, { value, enumerable: key !== "message" && key !== "stack", configurable: true });
  }
  return error;
}
