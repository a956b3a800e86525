import type { StoreKind, StoreUsage } from "../api/types.ts";

/** Bytes [from, to) of a file. */
export interface Span {
  readonly from: number;
  readonly to: number;
}

/**
 * Files kept on this device in records. A store knows keys and spans only: which records are there and sound is written
 * down in a `StoreIndex`, after `flush`. A record's span never changes under its key.
 */
export interface WeightStore {
  readonly kind: StoreKind;
  /** The bytes of `part` of a record (all of it by default), or undefined where they are not all there. */
  read(file: string, record: Span, part?: Span): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Fails with `StoreError`, `isFull` where there is no room; nothing that is indexed has changed then. */
  write(file: string, record: Span, bytes: Uint8Array<ArrayBuffer>): Promise<void>;
  /** Resolves when what was written before can no longer be lost by a crash of this program. */
  flush(file: string): Promise<void>;
  /** Forgets all records of a file. */
  remove(file: string): Promise<void>;
  close(): Promise<void>;
}

/** Small values by key, beside the records: what is stored. They are JSON. */
export interface StoreIndex {
  get<T>(key: string): Promise<T | undefined>;
  /** Replaces a value by what `edit` makes of it, in one transaction; undefined removes it, as it stands for its absence. */
  update<T>(key: string, edit: (value: T | undefined) => T | undefined): Promise<void>;
  /** Everything, by key. */
  entries(): Promise<readonly (readonly [string, unknown])[]>;
  close(): Promise<void>;
}

/** The stores of a platform and the index that they share. */
export interface Stores {
  readonly index: StoreIndex;
  /** Opens a store, once. Fails with `StoreError` where this place has none of the kind. */
  open(kind: StoreKind): Promise<WeightStore>;
  /** The kind for a new file, as was asked for or found to be the fastest here. */
  choose(sizeBytes: number): Promise<StoreKind>;
  /** Says what stands against keeping so many more bytes, in a sentence; asks that they may stay. */
  makeRoom(bytes: number): Promise<string | undefined>;
  /** Resolves to true when nobody else stores the model of this name, and to false when `signal` aborts before. */
  lead(name: string, signal: AbortSignal): Promise<boolean>;
  usage(): Promise<StoreUsage>;
  /** Closes the index and what is open; a later use opens them again. */
  close(): Promise<void>;
}

/** A store cannot do what was asked. It costs a download, never a wrong byte, so callers go on without the store. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  readonly isFull: boolean;

  constructor(message: string, options: ErrorOptions & { isFull?: boolean } = {}) {
    super(message, options);
    this.isFull = options.isFull ?? false;
  }
}

/** Whatever a platform throws when it writes, as a `StoreError`. */
export function storeError(cause: unknown): StoreError {
  if (cause instanceof StoreError) return cause;
  const { name, code, message } = cause as Error & { code?: string };
  const isFull = name === "QuotaExceededError" || code === "ENOSPC" || code === "EDQUOT";
  return new StoreError(message || name, { cause, isFull });
}
