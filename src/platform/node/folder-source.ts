import { existsSync } from "node:fs";
import { type FileHandle, open, readdir, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CheckpointError } from "../../errors.ts";
import type { ByteRange, FileSource, HashedBytes } from "../../weights/checkpoint.ts";
import { sha256 } from "../../weights/packed/sha256.ts";
import { ReadThreads } from "./read-threads.ts";

/** Node reads at most 2 GiB at once; smaller pieces also notice an abort sooner. */
const PIECE_BYTES = 64 * 2 ** 20;

/** Memory that is kept: about as much as is read into at once. */
const SPARE_BYTES = 64e6;

/** It lies beside this file in what is built; where the sources run as they are, there is none. */
const builtScript = fileURLToPath(new URL("./read-worker.js", import.meta.url));

/** Beyond these the thread that uploads is the slower one. */
const MOST_THREADS = 8;

/** What one thread reads while others would still be starting. */
const ALONE_BYTES = 64e6;

export interface FolderOptions {
  /** The built program of a thread that reads; false for none. */
  readonly threadScript?: string | false;
  /** Bytes to hash before threads are started. */
  readonly aloneBytes?: number;
}

/** A model's folder on disk. Files stay open until `close`, so that a read costs one system call. */
export class FolderSource implements FileSource {
  readonly label: string;
  readonly file?: string;
  readonly readHashed?: FileSource["readHashed"];
  readonly #handles = new Map<string, Promise<FileHandle>>();
  /** What was taken back, oldest first: memory that is new costs more time than reading into it from the system's cache. */
  readonly #spare: Uint8Array<ArrayBuffer>[] = [];
  #spareBytes = 0;
  readonly #threads: ReadThreads | undefined;
  /** Bytes to be hashed before threads are. */
  #aloneBytes: number;
  #closed = false;

  private constructor(folder: string, { threadScript, aloneBytes }: Required<FolderOptions>, file?: string) {
    this.label = folder;
    this.file = file;
    this.#aloneBytes = aloneBytes;
    if (!threadScript) return;
    this.#threads = new ReadThreads(threadScript, Math.min(availableParallelism(), MOST_THREADS));
    this.readHashed = this.#readHashed;
  }

  /** A folder, or the `.gguf` in one. Fails with `CheckpointError` where `path` is not there or neither of them. */
  static async open(
    path: string,
    { threadScript = existsSync(builtScript) && builtScript, aloneBytes = ALONE_BYTES }: FolderOptions = {},
  ): Promise<FolderSource> {
    const options = { threadScript, aloneBytes };
    const found = await stat(path).catch((cause) => {
      throw new CheckpointError(path, `there is no such folder (${cause.code}).`, { cause });
    });
    if (found.isDirectory()) return new FolderSource(path, options);
    if (/\.gguf$/i.test(path)) return new FolderSource(dirname(path), options, basename(path));
    throw new CheckpointError(path, "this is not a folder. Give the folder that holds config.json, or a .gguf.");
  }

  async list(): Promise<string[]> {
    const entries = await readdir(this.label, { withFileTypes: true });
    return entries.filter((entry) => !entry.isDirectory()).map(({ name }) => name);
  }

  async size(name: string): Promise<number | undefined> {
    try {
      return (await (await this.#handle(name)).stat()).size;
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw this.#failure(name, error);
    }
  }

  async read(
    name: string,
    range?: { from: number; to: number },
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    signal?.throwIfAborted();
    try {
      const handle = await this.#handle(name);
      const { from, to } = range ?? { from: 0, to: (await handle.stat()).size };
      const bytes = this.#takeSpare(to - from) ?? new Uint8Array(to - from);
      for (let done = 0; done < bytes.length; ) {
        signal?.throwIfAborted();
        const length = Math.min(PIECE_BYTES, bytes.length - done);
        const { bytesRead } = await handle.read(bytes, done, length, from + done);
        if (bytesRead === 0) throw new Error(`the file ends at byte ${from + done}, bytes up to ${to} were asked for`);
        done += bytesRead;
      }
      return bytes;
    } catch (error) {
      if (signal?.aborted) throw error;
      throw this.#failure(name, error);
    }
  }

  async #readHashed(name: string, ranges: readonly ByteRange[], signal?: AbortSignal): Promise<HashedBytes> {
    signal?.throwIfAborted();
    const byThreads = this.#aloneBytes <= 0 && !this.#closed;
    this.#aloneBytes -= ranges.reduce((sum, { from, to }) => sum + to - from, 0);
    const found = byThreads ? await this.#threads!.read(join(this.label, name), ranges) : undefined;
    if (found) return found;
    // What threads cannot do succeeds, or fails, as it would without them.
    const parts = await Promise.all(
      ranges.map(async (range) => {
        const bytes = await this.read(name, range, signal);
        return { bytes, sha256: await sha256(bytes) };
      }),
    );
    return { parts, release: () => parts.forEach(({ bytes }) => void this.recycle(bytes)) };
  }

  recycle(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.#closed) return;
    this.#spare.push(bytes);
    this.#spareBytes += bytes.length;
    while (this.#spareBytes > SPARE_BYTES) this.#spareBytes -= this.#spare.shift()!.length;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#spare.length = 0;
    await this.#threads?.close();
    const handles = [...this.#handles.values()];
    this.#handles.clear();
    await Promise.all(handles.map((handle) => handle.then((file) => file.close())));
  }

  #takeSpare(size: number): Uint8Array<ArrayBuffer> | undefined {
    const at = this.#spare.findLastIndex(({ length }) => length === size);
    if (at < 0) return undefined;
    this.#spareBytes -= size;
    return this.#spare.splice(at, 1)[0];
  }

  #handle(name: string): Promise<FileHandle> {
    let handle = this.#handles.get(name);
    if (!handle) {
      if (this.#closed) return Promise.reject(new Error("the folder was closed"));
      handle = open(join(this.label, name), "r");
      this.#handles.set(name, handle);
      handle.catch(() => this.#handles.delete(name));
    }
    return handle;
  }

  #failure(name: string, cause: unknown): CheckpointError {
    const reason = isMissing(cause) ? "there is no such file" : (cause as Error).message;
    return new CheckpointError(join(this.label, name), `${reason}.`, { cause });
  }
}

const isMissing = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === "ENOENT";
