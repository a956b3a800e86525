import type { Batch } from "../ops/batch.ts";

/** What the reference needs to know of a batch. */
export interface HostBatch extends Batch {
  /** One per row. */
  readonly tokenIds: readonly number[];
  /** One per row, counted from 0 within its sequence. */
  readonly positions: readonly number[];
  readonly sequences: readonly HostSequence[];
}

/** Rows [from, to) of a batch. */
export interface HostSequence {
  readonly from: number;
  readonly to: number;
  /** Where its recurrent state is kept. */
  readonly slot: number;
  /** Its KV blocks in order: position p is in block `blockTable[p / blockSize]`. */
  readonly blockTable: readonly number[];
}

/** The next tokens of some sequences: `position` is that of the first of `tokenIds`. */
export interface SequenceTokens {
  readonly tokenIds: readonly number[];
  readonly position: number;
  readonly slot: number;
  readonly blockTable: readonly number[];
}

export function hostBatch(parts: readonly SequenceTokens[]): HostBatch {
  const tokenIds = parts.flatMap((part) => part.tokenIds);
  let from = 0;
  const sequences = parts.map(({ tokenIds, slot, blockTable }) => {
    const to = from + tokenIds.length;
    const sequence = { from, to, slot, blockTable };
    from = to;
    return sequence;
  });
  return {
    maxTokens: tokenIds.length,
    maxSequences: parts.length,
    kind: parts.every((part) => part.tokenIds.length === 1) ? "decode" : "prefill",
    tokenIds,
    positions: parts.flatMap((part) => part.tokenIds.map((_, i) => part.position + i)),
    sequences,
  };
}
