import { EventChannel } from "../common/event-channel.ts";
import type { EngineEvent, EngineRequest } from "./engine.ts";
import type { Snapshot } from "./prefix-tree.ts";
import type { ResolvedSampling } from "./runner.ts";

/**
 * One request on its way. Waiting, it owns nothing but its tokens; that is also what is left of it when it is preempted.
 * Then its prompt, and what has been drawn already, is read, and then a token a step is drawn.
 */
export class Sequence {
  readonly events = new EventChannel<EngineEvent>();
  /** Prompt and reply. Once decoding, all but the last and those ahead have been read. */
  readonly tokens: number[];
  readonly promptLength: number;
  /** Tokens of the prompt, and of the reply before the first draw. */
  readonly givenLength: number;
  readonly sampling: ResolvedSampling;
  status: "waiting" | "prefill" | "decode" | "done" = "waiting";
  /** The caller has left: what is on its way is waited for, and no more is done. */
  isLeaving = false;
  slot = -1;
  blocks: number[] = [];
  /** Tokens in the state once all prefills submitted are done. */
  position = 0;
  /** Tokens of the prompt whose state was there. */
  cached = 0;
  /** Lengths at which the state is to be kept, ascending. */
  cuts: readonly number[] = [];
  /** Copies of the state that no finite draw has vouched for yet. */
  unverified: Snapshot[] = [];
  /** Decode steps submitted that have not answered. */
  ahead = 0;
  /** Counts up when what is on its way no longer counts. */
  epoch = 0;
  hasReplayed = false;
  /** What its next draw may give is being worked out. */
  isMaskPending = false;
  /** Whose state it waits for. */
  leader: { readonly sequence: Sequence; readonly epoch: number } | undefined;
  /** Tokens whose logits have been handed on, where they are asked for. */
  scored = 0;

  constructor(
    readonly request: EngineRequest,
    /** Ascending in the order of arrival. */
    readonly age: number,
    maxContext: number,
  ) {
    this.tokens = [...request.prompt, ...(request.reply ?? [])];
    this.promptLength = request.prompt.length;
    this.givenLength = this.tokens.length;
    const maxTokens = Math.min(request.sampling.maxTokens, maxContext - this.promptLength);
    this.sampling = { ...request.sampling, maxTokens };
  }

  get reply(): readonly number[] {
    return this.tokens.slice(this.promptLength);
  }

  /** Tokens that no prefill has been submitted for. */
  get unread(): number {
    return this.tokens.length - this.position;
  }

  /** Tokens in the state once the reply is at its end: the last one drawn has not been read. */
  get finalLength(): number {
    return this.tokens.length - (this.request.score ? 0 : 1);
  }

  /** Whether the steps ahead may all find that the reply has ended. */
  get mayEnd(): boolean {
    return this.tokens.length - this.promptLength + this.ahead >= this.sampling.maxTokens;
  }
}
