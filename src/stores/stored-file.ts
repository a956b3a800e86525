import type { StoreKind } from "../api/types.ts";
import { sha256 } from "../weights/packed/sha256.ts";
import { Records } from "./records.ts";
import { type Span, StoreError, type StoreIndex, type Stores, storeError, type WeightStore } from "./weight-store.ts";

/** What the index holds of a file: where its records are, and the SHA-256 of each that is there. */
export interface FileEntry {
  readonly store: StoreKind;
  readonly sizeBytes: number;
  readonly storedBytes: number;
  /** Where each record begins and the last ends, unless they are equal. */
  readonly bounds?: readonly number[];
  readonly hashes: readonly (string | null)[];
}

export const fileKey = (id: string): string => `file/${id}`;

/**
 * One version of a file in a store. A record counts as stored once it was written, flushed and then entered in the
 * index with its hash; its bytes are checked against that when they are first read.
 */
export class StoredFile {
  readonly id: string;
  readonly records: Records;
  readonly #store: WeightStore;
  readonly #index: StoreIndex;
  /** By record; what is written and not yet in the index included. */
  #hashes: (string | null)[];
  readonly #pending = new Map<number, string>();
  readonly #verified = new Set<number>();
  #marking: Promise<void> = Promise.resolve();

  private constructor(id: string, records: Records, store: WeightStore, index: StoreIndex, entry: FileEntry) {
    this.id = id;
    this.records = records;
    this.#store = store;
    this.#index = index;
    this.#hashes = [...entry.hashes];
  }

  /** Opens what is stored of a file, or begins to store it. */
  static async open(
    id: string,
    records: Records,
    stores: Pick<Stores, "index" | "open" | "choose">,
  ): Promise<StoredFile> {
    const { index } = stores;
    const known = await index.get<FileEntry>(fileKey(id));
    const store = await stores.open(known?.store ?? (await stores.choose(records.sizeBytes)));
    // Entering it again would fail on a full disk, from which it can still be read.
    if (known) return new StoredFile(id, records, store, index, known);
    const { sizeBytes, bounds } = records;
    const fresh: FileEntry = { store: store.kind, sizeBytes, storedBytes: 0, bounds, hashes: [] };
    let entry = fresh;
    await index.update<FileEntry>(fileKey(id), (other) => {
      entry = other?.store === store.kind ? other : fresh;
      return entry;
    });
    return new StoredFile(id, records, store, index, entry);
  }

  /** What is stored of a file, by its id; undefined where nothing is. */
  static async find(id: string, stores: Pick<Stores, "index" | "open">): Promise<StoredFile | undefined> {
    const entry = await stores.index.get<FileEntry>(fileKey(id));
    if (!entry) return undefined;
    const { sizeBytes, bounds, store } = entry;
    const records = new Records(sizeBytes, bounds && { bounds, checks: [] });
    return new StoredFile(id, records, await stores.open(store), stores.index, entry);
  }

  get kind(): StoreKind {
    return this.#store.kind;
  }

  has(record: number): boolean {
    return Boolean(this.#hashes[record]);
  }

  get isComplete(): boolean {
    return this.storedBytes === this.records.sizeBytes;
  }

  get storedBytes(): number {
    return bytesOf(this.records, this.#hashes);
  }

  /** The bytes of `part`, which lies in the record; undefined where they are not stored, or no longer what was written. */
  async read(record: number, part: Span): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const hash = this.#hashes[record];
    if (!hash) return undefined;
    const span = this.records.span(record);
    if (this.#verified.has(record)) {
      const bytes = await this.#store.read(this.id, span, part);
      if (!bytes) await this.#forget(record);
      return bytes;
    }
    const bytes = await this.#store.read(this.id, span);
    if (!bytes || bytes.length !== span.to - span.from || (await sha256(bytes)) !== hash) {
      await this.#forget(record);
      return undefined;
    }
    this.#verified.add(record);
    return bytes.subarray(part.from - span.from, part.to - span.from);
  }

  /** Writes a record. It can be read at once, and is entered in the index by `mark`. */
  async write(record: number, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const hash = await sha256(bytes);
    await this.#store.write(this.id, this.records.span(record), bytes);
    this.#verified.delete(record);
    this.#hashes[record] = hash;
    this.#pending.set(record, hash);
  }

  /** Enters in the index what was written. Fails with `StoreError` where somebody has removed the file meanwhile. */
  mark(): Promise<void> {
    this.#marking = this.#marking.catch(() => {}).then(() => this.#mark());
    return this.#marking;
  }

  /** Sees what others have stored meanwhile. */
  async refresh(): Promise<void> {
    const entry = await this.#index.get<FileEntry>(fileKey(this.id));
    for (const [record, hash] of entry?.hashes.entries() ?? []) this.#hashes[record] ??= hash;
  }

  async #mark(): Promise<void> {
    if (this.#pending.size === 0) return;
    const marks = [...this.#pending];
    this.#pending.clear();
    let isGone = false;
    try {
      await this.#store.flush(this.id);
      await this.#index.update<FileEntry>(fileKey(this.id), (entry) => {
        isGone = entry === undefined;
        return entry && withHashes(entry, this.records, marks);
      });
    } catch (error) {
      throw storeError(error);
    }
    if (!isGone) return;
    this.#hashes = [];
    await this.#store.remove(this.id);
    throw new StoreError("the stored model was removed while it was in use");
  }

  async #forget(record: number): Promise<void> {
    this.#hashes[record] = null;
    this.#verified.delete(record);
    this.#pending.delete(record);
    const edit = (entry: FileEntry | undefined) => entry && withHashes(entry, this.records, [[record, null]]);
    await this.#index.update<FileEntry>(fileKey(this.id), edit).catch(() => {});
  }
}

function withHashes(
  entry: FileEntry,
  records: Records,
  marks: readonly (readonly [number, string | null])[],
): FileEntry {
  const hashes = Array.from({ length: records.count }, (_, record) => entry.hashes[record] ?? null);
  for (const [record, hash] of marks) hashes[record] = hash;
  return { ...entry, hashes, storedBytes: bytesOf(records, hashes) };
}

const bytesOf = (records: Records, hashes: readonly (string | null)[]): number =>
  hashes.reduce((sum, hash, record) => (hash ? sum + records.length(record) : sum), 0);
