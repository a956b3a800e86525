import type { EngineEvent } from "../engine/engine.ts";
import type { ResolvedSampling, Sampled } from "../engine/runner.ts";
import type { ExpertShape } from "../paging/expert-host.ts";

/** Counts up when a client and a server of different ages could misunderstand each other. */
export const VERSION = 1;

/** Where a server answers links. */
export const PATH = "/v1/companion";

/**
 * What a client says. Numbers are in the payload: of `generate` the prompt, the reply's beginning and the mask (u32), of `sum`
 * the rows (f32 [rows, H]), then the experts (u32) and their weights (f32), [rows, topK] each; of `step` the rows
 * (f32 [rows, H]); of `ping` anything.
 */
export type ToCompanion =
  | { readonly kind: "hello"; readonly version: number; readonly key?: string }
  | { readonly kind: "ping"; readonly id: number }
  | GenerateMessage
  | { readonly kind: "sum"; readonly id: number; readonly layer: number; readonly rows: number }
  | OpenMessage
  | StepMessage
  | { readonly kind: "stats"; readonly id: number }
  | { readonly kind: "abort"; readonly id: number };

export interface GenerateMessage {
  readonly kind: "generate";
  readonly id: number;
  readonly promptTokens: number;
  readonly replyTokens: number;
  readonly maskWords: number;
  readonly boundaries?: readonly number[];
  readonly logits: boolean;
  /** Draw nothing, and give the logits after each token of the prompt. */
  readonly score: boolean;
  readonly sampling: Omit<ResolvedSampling, "logitBias"> & {
    readonly logitBias: readonly (readonly [number, number])[];
  };
}

/**
 * Asks for states of the layers [from, to), which go by a name that nobody can guess. Asked again, it gives those that
 * there are.
 */
export interface OpenMessage {
  readonly kind: "open";
  readonly id: number;
  readonly state: string;
  readonly from: number;
  readonly to: number;
  readonly maxContext: number;
  readonly maxBatchTokens: number;
  readonly maxSequences: number;
  readonly snapshots: number;
  readonly cacheTokens: number;
}

/**
 * A step of those layers. Each turn is taken once, in ascending order from 0, whenever and however often it comes; its answer
 * is kept until a later step says that all before `answered` have come.
 */
export interface StepMessage {
  readonly kind: "step";
  readonly id: number;
  readonly state: string;
  readonly turn: number;
  readonly answered: number;
  readonly work: "prefill" | "decode";
  /** Copies of slots and of KV blocks, to be made before. */
  readonly copies: readonly { readonly what: "state" | "block"; readonly from: number; readonly to: number }[];
  readonly sequences: readonly StepSequence[];
}

/** Rows of one sequence: that they are of tokens is all that is said of these. */
export interface StepSequence {
  readonly slot: number;
  readonly position: number;
  readonly rows: number;
  /** How many of its last rows are wanted back. */
  readonly keep: number;
  /** Its KV blocks: as many of those it had as are still the same, then these. */
  readonly same: number;
  readonly blocks: readonly number[];
}

/** The value of a step's answer where nobody has heard of its state: it was lost, or never was. */
export interface Gone {
  readonly isGone: true;
}

/** What a server says; the last answer to a request is `done` or `error`. Payloads: logits of an `event`, the rows of a sum or a step, a ping's own. */
export type FromCompanion =
  | Welcome
  | { readonly kind: "event"; readonly id: number; readonly event: WireEvent }
  | { readonly kind: "done"; readonly id: number; readonly value?: unknown }
  | { readonly kind: "error"; readonly id?: number; readonly error: ErrorParts };

export type WireEvent =
  | Extract<EngineEvent, { kind: "prefill" }>
  | { readonly kind: "token"; readonly sampled: Omit<Sampled, "logits"> }
  | { readonly kind: "scored"; readonly position: number };

/** What a link can be used for. */
export interface Welcome {
  readonly kind: "welcome";
  readonly version: number;
  /** What the server's model is, to be compared with one's own. */
  readonly fingerprint: string;
  /** Its name, and its tokens of context. */
  readonly label: string;
  readonly maxContext: number;
  readonly experts?: ExpertShape;
  /** Its layers, where others may have states of them: columns of a row, and rows of a step at most. */
  readonly layers?: {
    readonly count: number;
    readonly hidden: number;
    readonly maxBatchTokens: number;
  };
  /** Why it has neither, where it could. */
  readonly lacks?: string;
  /** How fast the server decodes for one client: measured. */
  readonly tokensPerSecond: number;
  /** Requests under way at once, and bytes of a frame, at most. */
  readonly maxOpen: number;
  readonly maxFrameBytes: number;
}

export interface ErrorParts {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  readonly facts: Readonly<Record<string, unknown>>;
}
