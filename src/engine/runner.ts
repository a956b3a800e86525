/** What one step runs for one sequence. */
export interface SequenceStep {
  readonly tokens: ArrayLike<number>;
  /** Tokens that its state holds already. */
  readonly position: number;
  /** State slot. */
  readonly slot: number;
  /** KV blocks, enough for position + tokens. */
  readonly blocks: ArrayLike<number>;
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

export interface Sampled {
  readonly token: number;
  /** Set when the token ended the reply: by a stop id, or as the last of maxTokens. */
  readonly isLast: boolean;
  /** False when the model computed something that is not a number. */
  readonly isFinite: boolean;
  /** The model's raw logits [V], where they were asked for. */
  readonly logits?: Float32Array;
}

export interface RunnerLimits {
  /** Tokens of a sequence. */
  readonly maxContext: number;
  /** Tokens of one step. */
  readonly maxBatchTokens: number;
  /** Slots for recurrent state. */
  readonly slots: number;
  readonly blockTokens: number;
  /** KV blocks in all. */
  readonly blocks: number;
  readonly vocabularySize: number;
}

/**
 * Runs steps on a device. Steps run in the order of their calls. A `decode` returns before its step is done, so that the
 * next can be submitted meanwhile; a `prefill` has to be awaited first.
 */
export interface Runner {
  readonly limits: RunnerLimits;
  /** The device is gone for good: every step fails. */
  readonly isLost: boolean;
  /** Sets how the sequence of the coming steps is sampled. `prompt` counts for the repetition penalty. */
  setSampling(sampling: ResolvedSampling, prompt: ArrayLike<number>): void;
  /** Reads tokens into the state. With `sample`, the token after them is drawn, and `decode` goes on from it. */
  prefill(
    step: SequenceStep,
    options: { readonly sample: boolean; readonly logits?: boolean },
  ): Promise<Sampled | undefined>;
  /**
   * Draws the next token after the last drawn. Once a reply has ended, further steps change nothing and give undefined.
   * `blocks` of the prefill must have room.
   */
  decode(options?: { readonly logits?: boolean }): Promise<Sampled | undefined>;
  /** Copies a slot's recurrent state. */
  copyState(from: number, to: number): void;
  dispose(): void;
}
