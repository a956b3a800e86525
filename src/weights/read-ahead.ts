import type { FileSource } from "./checkpoint.ts";

const BLOCK_BYTES = 2 * 2 ** 20;
const MAX_BLOCKS = 8;
/** Reads from this size on are worth a request of their own. */
const DIRECT_BYTES = BLOCK_BYTES / 4;

/**
 * Reads small ranges through blocks of 2 MiB, of which the last eight are kept. A small model has a thousand tensors of a
 * few KiB one after the other; over a network each would cost a round trip.
 */
export const readAhead = (files: FileSource): FileSource => new ReadAhead(files);

class ReadAhead implements FileSource {
  readonly label: string;
  readonly file?: string;
  readonly list?: FileSource["list"];
  readonly version?: FileSource["version"];
  readonly divide?: FileSource["divide"];
  readonly #files: FileSource;
  /** The least recently used comes first. */
  readonly #blocks = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();

  constructor(files: FileSource) {
    this.#files = files;
    this.label = files.label;
    this.file = files.file;
    this.list = files.list?.bind(files);
    this.version = files.version?.bind(files);
    this.divide = files.divide?.bind(files);
  }

  size(name: string, signal?: AbortSignal): Promise<number | undefined> {
    return this.#files.size(name, signal);
  }

  async read(
    name: string,
    range?: { from: number; to: number },
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    signal?.throwIfAborted();
    const size = range && (await this.#files.size(name, signal));
    if (!range || size === undefined || range.to > size || range.to - range.from >= DIRECT_BYTES) {
      return this.#files.read(name, range, signal);
    }
    const bytes = new Uint8Array(range.to - range.from);
    for (let at = range.from; at < range.to; ) {
      const start = at - (at % BLOCK_BYTES);
      const end = Math.min(range.to, start + BLOCK_BYTES);
      const block = await this.#block(name, start, Math.min(size, start + BLOCK_BYTES), signal);
      bytes.set(block.subarray(at - start, end - start), at - range.from);
      at = end;
    }
    return bytes;
  }

  async close(): Promise<void> {
    this.#blocks.clear();
    await this.#files.close?.();
  }

  async #block(name: string, from: number, to: number, signal?: AbortSignal): Promise<Uint8Array> {
    const key = `${from} ${name}`;
    const shared = this.#blocks.get(key);
    if (shared) {
      this.#blocks.delete(key);
      this.#blocks.set(key, shared);
      try {
        return await shared;
      } catch {
        // Whoever asked first may have aborted; that is not for this caller to suffer.
        return this.#files.read(name, { from, to }, signal);
      }
    }
    const block = this.#files.read(name, { from, to }, signal);
    this.#blocks.set(key, block);
    for (const oldest of this.#blocks.keys()) {
      if (this.#blocks.size <= MAX_BLOCKS) break;
      this.#blocks.delete(oldest);
    }
    try {
      return await block;
    } catch (error) {
      if (this.#blocks.get(key) === block) this.#blocks.delete(key);
      throw error;
    }
  }
}
