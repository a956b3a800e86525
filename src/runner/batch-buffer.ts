import type { SequenceStep } from "../engine/runner.ts";
import { invariant } from "../errors.ts";
import type { GpuBuffer } from "../gpu/resources.ts";

export interface BatchLimits {
  readonly maxTokens: number;
  readonly maxSequences: number;
  /** KV blocks of one sequence. */
  readonly maxBlocks: number;
  /** Tokens in a KV block. */
  readonly blockTokens: number;
}

const HEADER = 8;

/** Words of the batch buffer that shaders/lib/batch.wgsl reads, and where each part starts. */
export function batchLayout({ maxTokens, maxSequences, maxBlocks }: BatchLimits) {
  const tokens = HEADER;
  const positions = tokens + maxTokens;
  const sequences = positions + maxTokens;
  const starts = sequences + maxTokens;
  const slots = starts + maxSequences + 1;
  const blocks = slots + maxSequences;
  return { tokens, positions, sequences, starts, slots, blocks, words: blocks + maxSequences * maxBlocks };
}

/** Constants that shaders of a batch declare. */
export const batchConstants = (limits: BatchLimits): Record<string, number> => ({
  MAX_TOKENS: limits.maxTokens,
  MAX_SEQUENCES: limits.maxSequences,
  MAX_BLOCKS: limits.maxBlocks,
  BLOCK: limits.blockTokens,
});

/**
 * The batch as the device sees it, written by the host for a prefill and where a decode begins, and advanced by the sampler
 * from one decode step to the next.
 */
export class BatchBuffer implements GpuBuffer {
  readonly kind = "buffer";
  readonly label = "batch";
  readonly sizeBytes: number;
  /** What the host wrote last; of the block table, what the device holds. */
  readonly #words: Uint32Array<ArrayBuffer>;
  /** Sequences of the step before, where it had one row of each: it leaves their places as they are. */
  #decoded: number | undefined;
  /** The device has tokens and positions as the host wrote them. */
  #isHeld = false;

  constructor(
    readonly limits: BatchLimits,
    readonly gpu?: GPUBuffer,
  ) {
    this.#words = new Uint32Array(batchLayout(limits).words);
    this.sizeBytes = this.#words.byteLength;
  }

  /**
   * Puts `sequences` into one batch, rows in order, and uploads it. The first `draws` of them draw a token; the first `kept`,
   * of one row each, are left as the step before leaves them. `withoutTokens` leaves these to whoever copies `tokens` there.
   */
  write(
    queue: GPUQueue,
    sequences: readonly SequenceStep[],
    draws = sequences.length,
    { kept = 0, withoutTokens = false }: { readonly kept?: number; readonly withoutTokens?: boolean } = {},
  ): void {
    const { limits } = this;
    const layout = batchLayout(limits);
    const words = this.#words;
    invariant(sequences.length <= limits.maxSequences, `${sequences.length} sequences in a batch`);
    const changed = { tokens: !this.#isHeld, positions: !this.#isHeld, slots: false };
    const put = (part: keyof typeof changed, i: number, value: number) => {
      changed[part] ||= words[layout[part] + i] !== value;
      words[layout[part] + i] = value;
    };
    let row = kept;
    sequences.forEach((sequence, s) => {
      if (s < kept) return;
      const count = sequence.tokens.length;
      invariant(count > 0 && row + count <= limits.maxTokens, `a batch of ${row + count} tokens`);
      words[layout.starts + s] = row;
      put("slots", s, sequence.slot);
      for (let i = 0; i < count; i++, row++) {
        put("tokens", row, sequence.tokens[i]);
        put("positions", row, sequence.position + i);
        words[layout.sequences + row] = s;
      }
      words[layout.starts + s + 1] = row;
    });
    const isSteady = this.#decoded === sequences.length && row === sequences.length && words[2] === draws;
    // Where only some draw, the device drops the others.
    this.#decoded = row === sequences.length && (draws === 0 || draws === row) ? row : undefined;
    words[0] = row;
    words[1] = sequences.length;
    words[2] = draws;
    this.#isHeld = draws === 0;
    const parts: [isNeeded: boolean, from: number, to: number][] = [
      [!isSteady, 0, HEADER],
      [!withoutTokens && (!isSteady || changed.tokens), layout.tokens + kept, layout.tokens + row],
      [!isSteady || changed.positions, layout.positions + kept, layout.positions + row],
      [!isSteady, layout.sequences + kept, layout.sequences + row],
      [!isSteady, layout.starts + kept, layout.starts + sequences.length + 1],
      [!isSteady || changed.slots, layout.slots + kept, layout.slots + sequences.length],
    ];
    for (const [isNeeded, from, to] of parts) if (isNeeded && to > from) this.#upload(queue, from, to);
    this.writeBlocks(queue, sequences);
  }

  /** The tokens of the first rows as they were given last, and where in the buffer they belong. */
  tokens(rows: number): { readonly words: Uint32Array<ArrayBuffer>; readonly offset: number } {
    const { tokens } = batchLayout(this.limits);
    return { words: this.#words.subarray(tokens, tokens + rows), offset: tokens * 4 };
  }

  /** After a step of one row a sequence, writes what the next will most likely be: the same rows, one position on. */
  foresee(queue: GPUQueue): void {
    const layout = batchLayout(this.limits);
    const rows = this.#decoded;
    if (rows === undefined) return;
    for (let row = 0; row < rows; row++) this.#words[layout.positions + row]++;
    this.#upload(queue, layout.positions, layout.positions + rows);
    if (!this.#isHeld) this.#upload(queue, layout.tokens, layout.tokens + rows);
    this.#isHeld = true;
  }

  /** Lets sequences of the batch go on into further blocks; uploads what is new in the table. */
  writeBlocks(queue: GPUQueue, sequences: readonly Pick<SequenceStep, "blocks">[]): void {
    const { maxBlocks } = this.limits;
    const table = batchLayout(this.limits).blocks;
    sequences.forEach(({ blocks }, s) => {
      const row = table + s * maxBlocks;
      let from = 0;
      while (from < blocks.length && this.#words[row + from] === blocks[from]) from++;
      if (from === blocks.length) return;
      invariant(blocks.length <= maxBlocks, `${blocks.length} KV blocks for a sequence`);
      this.#words.set(Array.prototype.slice.call(blocks, from), row + from);
      this.#upload(queue, row + from, row + blocks.length);
    });
  }

  #upload(queue: GPUQueue, from: number, to: number): void {
    queue.writeBuffer(this.gpu!, from * 4, this.#words, from, to - from);
  }
}
