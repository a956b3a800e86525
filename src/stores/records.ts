import type { FileLayout } from "../weights/checkpoint.ts";
import { sha256 } from "../weights/packed/sha256.ts";
import type { Span } from "./weight-store.ts";

/**
 * Bytes of a record, where nobody says how a file is divided. Measured in Chromium (docs/weights.md): smaller ones cost
 * IndexedDB and the network more turns, larger ones make a reader of little wait for much.
 */
const RECORD_BYTES = 2 * 2 ** 20;

/** How a file is divided into records: in equal ones, or as its manifest says. */
export class Records {
  readonly sizeBytes: number;
  /** Where each record begins, and the end of the last; undefined where they are equal. */
  readonly bounds: readonly number[] | undefined;
  readonly #checks: FileLayout["checks"] | undefined;

  constructor(sizeBytes: number, layout?: FileLayout) {
    this.sizeBytes = sizeBytes;
    this.bounds = layout?.bounds;
    this.#checks = layout?.checks;
  }

  get count(): number {
    return this.bounds ? this.bounds.length - 1 : Math.ceil(this.sizeBytes / RECORD_BYTES);
  }

  span(record: number): Span {
    if (this.bounds) return { from: this.bounds[record], to: this.bounds[record + 1] };
    return { from: record * RECORD_BYTES, to: Math.min(this.sizeBytes, (record + 1) * RECORD_BYTES) };
  }

  length(record: number): number {
    const { from, to } = this.span(record);
    return to - from;
  }

  /** Whether a record's bytes are those of the manifest, as far as there is one. */
  async accepts(record: number, bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    const start = this.span(record).from;
    for (const { from, to, sha256: hash } of this.#checks?.[record] ?? []) {
      if ((await sha256(bytes.subarray(from - start, to - start))) !== hash) return false;
    }
    return true;
  }

  /** The record that holds a byte. */
  at(offset: number): number {
    if (!this.bounds) return Math.floor(offset / RECORD_BYTES);
    let [low, high] = [0, this.bounds.length - 1];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (this.bounds[middle] <= offset) low = middle;
      else high = middle;
    }
    return low;
  }
}
