import type { WeightFormat, WeightRows } from "./format.ts";

/** The files of a model, wherever they are: a folder, a URL, dropped files. Names are relative to the model. */
export interface FileSource {
  /** What a person would call it: a path, a URL, a folder's name. */
  readonly label: string;
  /** The one file that a person named instead of the whole: a `.gguf`. */
  readonly file?: string;
  /** Names of all files, where the place can tell them (a web server cannot). */
  list?(signal?: AbortSignal): Promise<readonly string[]>;
  /** Size in bytes, or undefined where there is no such file. */
  size(name: string, signal?: AbortSignal): Promise<number | undefined>;
  /** The bytes [from, to); all of it without a range. Fails with `CheckpointError` where they are not to be had. */
  read(name: string, range?: { from: number; to: number }, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
  /** What changes when the bytes of a file do (a hash, an ETag, a date), where the source knows such a thing: a key for copies. */
  version?(name: string, signal?: AbortSignal): Promise<string | undefined>;
  /** Says how a file is divided, before it is read: a source that keeps copies keeps it so, and checks what it gets. */
  divide?(name: string, layout: FileLayout): void;
  /** Reads ranges of a file and hashes each, on other threads, which is best done some megabytes at a time. Fails as `read` does. */
  readHashed?(name: string, ranges: readonly ByteRange[], signal?: AbortSignal): Promise<HashedBytes>;
  /** Takes back what `read` gave, for later reads to write to. */
  recycle?(bytes: Uint8Array<ArrayBuffer>): void;
  /**
   * Lets go of what it holds open; reads under way may fail. A source may go on behind its reader's back, as one that stores
   * the rest of a model: a second call ends that.
   */
  close?(): Promise<void>;
}

/** The bytes [from, to). */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** What was read together, in the order asked for, with SHA-256 in hexadecimal. */
export interface HashedBytes {
  readonly parts: readonly { readonly bytes: Uint8Array; readonly sha256: string }[];
  /** Takes all of it back, for later reads to write to. */
  readonly release: () => void;
}

/** A file in records that are read as one, as its manifest says. */
export interface FileLayout {
  /** Where each record begins, and the end of the last: from 0 to the file's size. */
  readonly bounds: readonly number[];
  /** For each record SHA-256 in hexadecimal of spans of the file that lie in it. */
  readonly checks: readonly (readonly { readonly from: number; readonly to: number; readonly sha256: string }[])[];
}

/**
 * A tensor of a checkpoint, not yet read. `shape` is the logical shape; `format` what `read` returns.
 * A tensor that Sluice cannot read is listed as `f32` with its `problem`, and `read` fails with that.
 */
export interface CheckpointTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly format: WeightFormat;
  /** What `auto` makes of it on the device, where that is not `format`: rows of a foreign block format are read as f32. */
  readonly auto?: WeightFormat;
  /** What its file calls its type, where that is another than `format`. */
  readonly type?: string;
  /** Why it cannot be read: an integer type without scales, say. */
  readonly problem?: string;
  readonly sizeBytes: number;
  /** Rows that are stored together: reads of whole multiples, from a multiple on, cost least. */
  readonly partRows?: number;
  /** Bytes that are best asked for in one turn; as few as one likes where it does not say. */
  readonly turnBytes?: number;
  /** Rows [from, to), data and scales aligned to 4 bytes, where all dimensions but the last are rows (a 3-D tensor [E, 2I, H] has E · 2I rows). */
  read(from: number, to: number, signal?: AbortSignal): Promise<WeightRows>;
}

/** A model's files, opened: its configuration, its text files, and the table of its tensors. */
export interface Checkpoint {
  readonly label: string;
  /** config.json as it stands. */
  readonly config: Readonly<Record<string, unknown>>;
  /** generation_config.json, or {}. */
  readonly generationConfig: Readonly<Record<string, unknown>>;
  /** tokenizer.json and tokenizer_config.json, where the checkpoint has them. */
  readonly tokenizer?: { readonly json: unknown; readonly config: Readonly<Record<string, unknown>> };
  /** Jinja source: chat_template.jinja, else `chat_template` of tokenizer_config.json. */
  readonly chatTemplate?: string;
  readonly tensors: ReadonlyMap<string, CheckpointTensor>;
  /** Tensors are in canonical form, each named by its place in `ModelWeights`, not by Hugging Face's names. */
  readonly isCanonical?: boolean;
  /** Bytes of all tensors. */
  readonly sizeBytes: number;
  /** Closes its files, as `FileSource.close` says. */
  close(): Promise<void>;
}
