import type { GpuBuffer } from "../gpu/resources.ts";
import { type Rope, ropeRows } from "../models/qwen3-next/rope.ts";

/** Cosines and sines by position. Rows are computed on the CPU when a sequence first reaches them. */
export class RopeTable implements GpuBuffer {
  readonly kind = "buffer";
  readonly label = "rope";
  readonly sizeBytes: number;
  readonly #rope: Rope;
  #filled = 0;

  constructor(
    rope: Rope,
    readonly maxContext: number,
    readonly gpu?: GPUBuffer,
  ) {
    this.#rope = rope;
    this.sizeBytes = maxContext * this.#rowBytes;
  }

  /** Makes sure of the rows of all positions below `positions`. */
  fill(queue: GPUQueue, positions: number): void {
    while (this.#filled < Math.min(positions, this.maxContext)) {
      const count = Math.min(ROWS_AT_ONCE, this.maxContext - this.#filled);
      queue.writeBuffer(this.gpu!, this.#filled * this.#rowBytes, ropeRows(this.#rope, this.#filled, count));
      this.#filled += count;
    }
  }

  get #rowBytes(): number {
    return this.#rope.inverseFrequencies.length * 2 * 4;
  }
}

const ROWS_AT_ONCE = 1024;
