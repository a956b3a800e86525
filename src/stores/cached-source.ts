import type { StoreReport } from "../api/types.ts";
import { pause, unlessAborted } from "../common/waiting.ts";
import { CheckpointError } from "../errors.ts";
import type { FileLayout, FileSource } from "../weights/checkpoint.ts";
import { type DownloadFile, Downloads } from "./downloads.ts";
import { keyOf } from "./key-of.ts";
import { Records } from "./records.ts";
import { StoredFile } from "./stored-file.ts";
import { type KnownFile, removeFile, StoredModel } from "./stored-model.ts";
import type { Span, Stores } from "./weight-store.ts";

export interface CacheOptions {
  /** Fetch the rest of every file that was read from, while nothing is waited for. Default true. */
  readonly fill?: boolean;
  /** Go on filling after `close`, until all is there or it is closed again. Default false. */
  readonly outliveClose?: boolean;
  readonly onReport?: (report: StoreReport) => void;
}

/** Records of one read that are asked for at once. */
const READ_AT_ONCE = 4;
/** How long a record is awaited that another tab is likely to be storing just now. */
const PATIENCE_MS = 3_000;
const LOOK_AGAIN_MS = 100;

/**
 * A remote model whose files stay on this device: what is stored and sound is read from there, the rest is fetched in
 * records and stored behind the reader's back. Reading works as soon as the first bytes are there; a filler fetches
 * the rest, beginning after what was last read. It closes its stores and its remote with itself.
 */
export class CachedSource implements FileSource {
  readonly label: string;
  readonly file?: string;
  readonly list?: (signal?: AbortSignal) => Promise<readonly string[]>;
  readonly #remote: FileSource;
  readonly #stores: Stores;
  readonly #model: StoredModel;
  readonly #downloads: Downloads;
  readonly #options: CacheOptions;
  readonly #found = new Map<string, Promise<KnownFile>>();
  /** Of files that something was read of; undefined where nothing can be stored. */
  readonly #files = new Map<string, Promise<DownloadFile | undefined>>();
  readonly #layouts = new Map<string, FileLayout>();
  readonly #end = new AbortController();
  #isLeader = false;
  #isPatient = true;
  #isOutliving = false;
  #stopped: Promise<void> | undefined;

  private constructor(remote: FileSource, stores: Stores, model: StoredModel, options: CacheOptions) {
    this.label = remote.label;
    this.file = remote.file;
    if (remote.list) this.list = (signal) => model.list(signal);
    this.#remote = remote;
    this.#stores = stores;
    this.#model = model;
    this.#options = options;
    this.#downloads = new Downloads(remote, {
      confirm: (name, signal) => model.confirm(name, signal),
      onReport: options.onReport,
    });
    void this.#lead();
  }

  /** Fails with `StoreError` where not even an index can be kept here. */
  static async open(remote: FileSource, stores: Stores, options: CacheOptions = {}): Promise<CachedSource> {
    return new CachedSource(remote, stores, await StoredModel.open(remote, stores), options);
  }

  get report(): StoreReport {
    return this.#downloads.report;
  }

  divide(name: string, layout: FileLayout): void {
    this.#layouts.set(name, layout);
    this.#files.delete(name);
  }

  async size(name: string, signal?: AbortSignal): Promise<number | undefined> {
    return (await this.#find(name, signal)).sizeBytes ?? undefined;
  }

  async version(name: string, signal?: AbortSignal): Promise<string | undefined> {
    return (await this.#find(name, signal)).version;
  }

  async read(name: string, range?: Span, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const { sizeBytes } = await this.#find(name, signal);
    if (sizeBytes === null) throw new CheckpointError(`${this.label}/${name}`, "there is no such file on the server.");
    const { from, to } = range ?? { from: 0, to: sizeBytes };
    if (to > sizeBytes) {
      const ends = `the file ends at byte ${sizeBytes}; bytes up to ${to} were asked for.`;
      throw new CheckpointError(`${this.label}/${name}`, ends);
    }
    const source = await unlessAborted(this.#file(name), signal);
    if (!source) return this.#remote.read(name, { from, to }, signal);
    const { records } = source.stored;
    const bytes = new Uint8Array(to - from);
    if (from === to) return bytes;
    const last = records.at(to - 1);
    this.#downloads.expect(source, last + 1);
    for (let record = records.at(from); record <= last; record += READ_AT_ONCE) {
      const group = Array.from({ length: Math.min(READ_AT_ONCE, last + 1 - record) }, async (_, i) => {
        const span = records.span(record + i);
        const part = { from: Math.max(from, span.from), to: Math.min(to, span.to) };
        bytes.set(await this.#record(source, record + i, part, signal), part.from - from);
      });
      await Promise.all(group);
      signal?.throwIfAborted();
    }
    return bytes;
  }

  /** Stores every file of the model to its end; the report says where that cannot be. Fails where the server does. */
  async complete(signal?: AbortSignal): Promise<void> {
    // A manifest names files before anything is read of them.
    await Promise.all([...this.#layouts.keys()].map((name) => this.#file(name)));
    await this.#downloads.complete(signal);
  }

  /** Enters in the index what is stored; may go on filling, as the options say, until it is called again. */
  async close(): Promise<void> {
    const isWanted = this.#options.outliveClose && this.#isLeader && !this.#downloads.isComplete;
    if (!isWanted || this.#isOutliving) return this.#stop();
    this.#isOutliving = true;
    void this.#downloads
      .complete()
      .catch(() => {})
      .then(() => this.#stop());
  }

  #stop(): Promise<void> {
    const stop = async () => {
      this.#end.abort();
      await this.#downloads.stop();
      await this.#stores.close();
      await this.#remote.close?.();
    };
    this.#stopped ??= stop();
    return this.#stopped;
  }

  /** Fills once nobody else does: two tabs would fetch everything twice. */
  async #lead(): Promise<void> {
    if (!(await this.#stores.lead(this.label, this.#end.signal))) return;
    const files = await Promise.all(this.#files.values());
    await Promise.all(files.map((file) => file?.stored.refresh().catch(() => {})));
    this.#isLeader = true;
    if (this.#options.fill ?? true) this.#downloads.fill();
  }

  #find(name: string, signal?: AbortSignal): Promise<KnownFile> {
    let found = this.#found.get(name);
    if (!found) {
      found = this.#model.find(name, this.#end.signal);
      this.#found.set(name, found);
      found.catch(() => this.#found.delete(name));
    }
    return unlessAborted(found, signal);
  }

  #file(name: string): Promise<DownloadFile | undefined> {
    let file = this.#files.get(name);
    if (!file) {
      file = this.#open(name).catch((error) => {
        this.#downloads.doWithout(error);
        return undefined;
      });
      this.#files.set(name, file);
    }
    return file;
  }

  /** Opens what is stored of a file, and counts it as one that is to be stored whole. */
  async #open(name: string): Promise<DownloadFile> {
    const { sizeBytes, version, id: before } = await this.#find(name);
    const layout = this.#layouts.get(name);
    const id = await keyOf(this.label, name, sizeBytes ?? 0, version, ...(layout?.bounds ?? []));
    if (before !== undefined && before !== id) await removeFile(this.#stores, before);
    const stored = await StoredFile.open(id, new Records(sizeBytes ?? 0, layout), this.#stores);
    await this.#model.use(name, id);
    const missing = stored.records.sizeBytes - stored.storedBytes;
    const obstacle = missing > 0 ? await this.#stores.makeRoom(missing) : undefined;
    if (obstacle) this.#downloads.notice(obstacle);
    const file = { name, stored };
    this.#downloads.add(file);
    return file;
  }

  async #record(file: DownloadFile, record: number, part: Span, signal?: AbortSignal): Promise<Uint8Array> {
    const { from } = file.stored.records.span(record);
    const cut = (bytes: Uint8Array) => bytes.subarray(part.from - from, part.to - from);
    // A fetch that somebody else began, perhaps while the server was away, may fail.
    const underWay = Promise.resolve(this.#downloads.underWay(file, record)).catch(() => undefined);
    const bytes = await unlessAborted(underWay, signal);
    if (bytes) return cut(bytes);
    const stored = await this.#stored(file.stored, record, part, signal);
    return stored ?? cut(await unlessAborted(this.#downloads.fetch(file, record), signal));
  }

  /** A record's bytes where they are stored, or are soon by another tab. */
  async #stored(file: StoredFile, record: number, part: Span, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const read = () => file.read(record, part).catch(() => undefined);
    const found = await read();
    if (found || this.#isLeader || !this.#isPatient) return found;
    for (let waitedMs = 0; waitedMs < PATIENCE_MS; waitedMs += LOOK_AGAIN_MS) {
      await pause(LOOK_AGAIN_MS, signal ?? this.#end.signal);
      signal?.throwIfAborted();
      await file.refresh().catch(() => {});
      const stored = await read();
      if (stored || this.#isLeader) return stored;
    }
    // The other tab is elsewhere, or asleep.
    this.#isPatient = false;
    return undefined;
  }
}
