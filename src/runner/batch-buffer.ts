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

/** The batch as the device sees it, written by the host before a prefill and advanced by the sampler while decoding. */
export class BatchBuffer implements GpuBuffer {
  readonly kind = "buffer";
  readonly label = "batch";
  readonly sizeBytes: number;
  readonly #words: Uint32Array<ArrayBuffer>;

  constructor(
    readonly limits: BatchLimits,
    readonly gpu?: GPUBuffer,
  ) {
    this.#words = new Uint32Array(batchLayout(limits).words);
    this.sizeBytes = this.#words.byteLength;
  }

  /** Puts `sequences` into one batch, rows in order, and uploads it. */
  write(queue: GPUQueue, sequences: readonly SequenceStep[]): void {
    const { limits } = this;
    const layout = batchLayout(limits);
    const words = this.#words;
    invariant(sequences.length <= limits.maxSequences, `${sequences.length} sequences in a batch`);
    let row = 0;
    sequences.forEach((sequence, s) => {
      const count = sequence.tokens.length;
      invariant(count > 0 && row + count <= limits.maxTokens, `a batch of ${row + count} tokens`);
      invariant(
        sequence.blocks.length * limits.blockTokens >= sequence.position + count,
        `${sequence.blocks.length} KV blocks for ${sequence.position + count} tokens`,
      );
      words[layout.starts + s] = row;
      words[layout.slots + s] = sequence.slot;
      words.set(sequence.blocks, layout.blocks + s * limits.maxBlocks);
      for (let i = 0; i < count; i++, row++) {
        words[layout.tokens + row] = sequence.tokens[i];
        words[layout.positions + row] = sequence.position + i;
        words[layout.sequences + row] = s;
      }
      words[layout.starts + s + 1] = row;
    });
    words[0] = row;
    words[1] = sequences.length;
    queue.writeBuffer(this.gpu!, 0, words);
  }
}
