import type { StoredTensor } from "../safetensors.ts";
import type { Parts } from "./parts.ts";

/** Bytes of columns that are kept; an expert is a hundredth of it. */
const KEPT_BYTES = 32 * 2 ** 20;

/**
 * Reads columns of stored matrices. A file gives rows only, so a piece of columns costs a read of the whole matrix: it is kept
 * for the pieces to come, in blocks of columns where it is too large.
 */
export class ColumnReader {
  readonly #keptBytes: number;
  /** The least recently used comes first. */
  readonly #blocks = new Map<string, Uint8Array>();
  /** Blocks that are being read: a weight is loaded in several pieces at once. */
  readonly #pending = new Map<string, Promise<Uint8Array>>();

  constructor(keptBytes = KEPT_BYTES) {
    this.#keptBytes = keptBytes;
  }

  /** The bytes [from, to) of each row, one row after the other. */
  async read(parts: Parts, tensor: StoredTensor, from: number, to: number, signal?: AbortSignal): Promise<Uint8Array> {
    const rows = tensor.shape[0];
    const rowBytes = (tensor.to - tensor.from) / Math.max(1, rows);
    const columns = new Uint8Array(rows * (to - from));
    const blockBytes = Math.min(rowBytes, 64 * Math.max(1, Math.floor(this.#keptBytes / 2 / Math.max(1, rows) / 64)));
    for (let at = from; at < to; ) {
      const start = at - (at % blockBytes);
      const width = Math.min(rowBytes, start + blockBytes) - start;
      const end = Math.min(to, start + width);
      const block = await this.#block(parts, tensor, start, width, signal);
      for (let row = 0; row < rows; row++) {
        const source = row * width - start;
        columns.set(block.subarray(source + at, source + end), row * (to - from) + at - from);
      }
      at = end;
    }
    return columns;
  }

  #store(key: string, block: Uint8Array): void {
    this.#blocks.delete(key);
    this.#blocks.set(key, block);
    let bytes = 0;
    for (const { length } of this.#blocks.values()) bytes += length;
    for (const [oldest, { length }] of this.#blocks) {
      if (bytes <= this.#keptBytes) break;
      this.#blocks.delete(oldest);
      bytes -= length;
    }
  }

  async #block(
    parts: Parts,
    tensor: StoredTensor,
    start: number,
    width: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const key = `${start} ${tensor.name}`;
    const kept = this.#blocks.get(key);
    const pending = kept ? undefined : this.#pending.get(key);
    try {
      const block = kept ?? (await (pending ?? this.#begin(key, readBlock(parts, tensor, start, width, signal))));
      this.#store(key, block);
      return block;
    } catch (error) {
      // Whoever began may have aborted; that is not for this caller to suffer.
      if (pending && !signal?.aborted) return this.#block(parts, tensor, start, width, signal);
      throw error;
    }
  }

  #begin(key: string, block: Promise<Uint8Array>): Promise<Uint8Array> {
    const done = block.finally(() => this.#pending.delete(key));
    this.#pending.set(key, done);
    return done;
  }
}

const BAND_BYTES = 8 * 2 ** 20;

/** Reads bands of rows and keeps `width` bytes of each row. */
async function readBlock(
  parts: Parts,
  tensor: StoredTensor,
  start: number,
  width: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const rows = tensor.shape[0];
  const rowBytes = (tensor.to - tensor.from) / Math.max(1, rows);
  if (width === rowBytes) return parts.rows(tensor, 0, rows, signal);
  const block = new Uint8Array(rows * width);
  const bandRows = Math.max(1, Math.floor(BAND_BYTES / rowBytes));
  for (let first = 0; first < rows; first += bandRows) {
    const end = Math.min(rows, first + bandRows);
    const band = await parts.rows(tensor, first, end, signal);
    for (let row = first; row < end; row++) {
      const at = (row - first) * rowBytes + start;
      block.set(band.subarray(at, at + width), row * width);
    }
  }
  return block;
}
