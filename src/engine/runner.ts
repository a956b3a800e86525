import type { CompanionStats, PagingStats } from "../api/types.ts";

/** What one step runs for one sequence. */
export interface SequenceStep {
  readonly tokens: ArrayLike<number>;
  /** Tokens that its state holds already. */
  readonly position: number;
  /** State slot: one of the live ones. */
  readonly slot: number;
  /** KV blocks, enough for position + tokens. */
  readonly blocks: ArrayLike<number>;
  /** Draw the token that follows. */
  readonly sample?: boolean;
  /** Give the raw logits with what is drawn. */
  readonly logits?: boolean;
  /**
   * Which tokens may be drawn: a bit for each, the lowest of the first word for id 0; undefined for all. It is asked when the
   * layers are on their way already, so that it costs no time beside them; it must not throw.
   */
  readonly mask?: () => Uint32Array<ArrayBuffer> | undefined;
}

/** One sequence of a decode step. */
export interface DecodeRow extends Omit<SequenceStep, "tokens" | "sample"> {
  /** The token to read. Undefined for the one that the step before drew for this row, and that may still be on its way. */
  readonly token?: number;
}

/** Ids that can end one reply. */
export const MAX_STOP_IDS = 16;

/** How a reply's tokens are drawn; every field resolved. Meanings are those of `SamplingParams`. */
export interface ResolvedSampling {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly presencePenalty: number;
  readonly frequencyPenalty: number;
  readonly repetitionPenalty: number;
  /** u32 */
  readonly seed: number;
  readonly logitBias: ReadonlyMap<number, number>;
  /** Ids that end the reply, at most MAX_STOP_IDS. */
  readonly stopIds: readonly number[];
  /** Tokens to draw at most. */
  readonly maxTokens: number;
}

/** The likeliest token each time, whatever it is. */
export const GREEDY: Omit<ResolvedSampling, "maxTokens"> = {
  temperature: 0,
  topK: 0,
  topP: 1,
  minP: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  seed: 0,
  logitBias: new Map(),
  stopIds: [],
};

export interface Sampled {
  readonly token: number;
  /** Set when the token ended the reply: by a stop id, or as the last of maxTokens. */
  readonly isLast: boolean;
  /** False when the model computed something that is not a number. */
  readonly isFinite: boolean;
  /** The model's raw logits [V], where they were asked for. */
  readonly logits?: Float32Array;
  /** Whose it is, as the device says: the state slot, and the position of the last token read. */
  readonly slot: number;
  readonly position: number;
}

export interface RunnerLimits {
  /** Tokens of a sequence. */
  readonly maxContext: number;
  /** Tokens of one prefill step. */
  readonly maxBatchTokens: number;
  /** Sequences under way at once: slots below this are live. */
  readonly maxSequences: number;
  /** Sequences of one prefill step. */
  readonly maxPrefillSequences: number;
  /** Slots for recurrent state, live and for copies. */
  readonly slots: number;
  readonly blockTokens: number;
  /** KV blocks in all. */
  readonly blocks: number;
  readonly vocabularySize: number;
}

/** The states of all sequences are gone, but not the device: they are to be read again, after `reset`. */
export class StatesLost extends Error {}

export type HostBytes = Uint8Array<ArrayBuffer>;

/** Copies states between a device and the host. */
export interface StateTransfer {
  /** Of a slot's recurrent state. */
  readonly slotBytes: number;
  /** Of a KV block of every layer. */
  readonly blockBytes: number;
  /** Copies a slot's recurrent state and KV blocks to the host, as the calls before leave them. */
  download(slot: number, blocks: readonly number[]): Promise<{ slot: HostBytes; blocks: readonly HostBytes[] }>;
  /** Copies what was downloaded to a slot and to blocks. */
  upload(
    state: { readonly slot: number; readonly bytes: HostBytes },
    blocks: readonly { readonly block: number; readonly bytes: HostBytes }[],
  ): void;
}

/** Bytes of logits that one step gives at most. */
const SCORE_BYTES = 2 ** 24;

/** Tokens of one step that gives the logits after each. */
export const scoreTokens = ({ maxBatchTokens, vocabularySize }: RunnerLimits): number =>
  Math.min(maxBatchTokens, Math.max(1, Math.floor(SCORE_BYTES / (4 * vocabularySize))));

/**
 * Runs steps on a device. Whatever is called takes effect in the order of the calls, so a slot or a block can be given to
 * another sequence as soon as the last step of its old one has been submitted.
 */
export interface Runner {
  readonly limits: RunnerLimits;
  /** The device is gone for good: every step fails. */
  readonly isLost: boolean;
  /** What the cache of experts has done so far, where the device holds some of them at a time. */
  readonly paging?: PagingStats;
  /** What was left to a companion, where there is one. */
  readonly companion?: CompanionStats;
  /**
   * Sets how the sequence in a slot is sampled. `prompt` counts for the repetition penalty. `reply` is what has been drawn
   * already: counts, limits and random numbers go on after it.
   */
  setSampling(slot: number, sampling: ResolvedSampling, prompt: ArrayLike<number>, reply?: ArrayLike<number>): void;
  /** Reads tokens into the states of some sequences. Gives what was drawn for those with `sample`. */
  prefill(steps: readonly SequenceStep[]): Promise<readonly (Sampled | undefined)[]>;
  /**
   * Reads one token a row and draws the next. Rows without a `token` come first, and have to be the first rows of the step
   * before: then the call may be made before that step is done. A row whose reply has ended changes nothing and gives
   * undefined.
   */
  decode(rows: readonly DecodeRow[]): Promise<readonly (Sampled | undefined)[]>;
  /** Reads tokens, at most `scoreTokens` of them, and gives the raw logits [tokens, V] after each. */
  score(step: SequenceStep): Promise<{ readonly logits: Float32Array }>;
  /** Begins anew after `StatesLost`, with which all steps submitted before fail. */
  reset?(): void;
  /** Copies a slot's recurrent state. */
  copyState(from: number, to: number): void;
  /** Copies a KV block of every layer. */
  copyBlock(from: number, to: number): void;
  /** Where states can leave the device and come back. */
  readonly transfer?: StateTransfer;
  dispose(): void;
}

/** Blocks of one sequence that fills the context. */
export const allBlocks = ({ limits }: Pick<Runner, "limits">): number[] =>
  Array.from({ length: Math.ceil(limits.maxContext / limits.blockTokens) }, (_, i) => i);
