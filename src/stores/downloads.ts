import type { StoreReport } from "../api/types.ts";
import { Turns } from "../common/turns.ts";
import { Bell, pause, unlessAborted } from "../common/waiting.ts";
import { CheckpointError } from "../errors.ts";
import type { FileSource } from "../weights/checkpoint.ts";
import type { StoredFile } from "./stored-file.ts";
import { storeError } from "./weight-store.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Records on their way at once, each from its request to its place in the store: this bounds memory. */
const TURNS = 6;
/** Of these, kept for what is awaited. */
const RESERVED = 2;
/** Fetched records that are kept in memory, for a reader who is just behind the filler. */
const RECENT = 6;
/** What was written is entered in the index so much later, many records at once. */
const MARK_MS = 250;
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;
/** So many failures in a row, each after the attempts of the source itself, end a wait for all. */
const MAX_FAILURES = 3;

/** A file that is downloaded and stored. */
export interface DownloadFile {
  readonly name: string;
  readonly stored: StoredFile;
}

export interface DownloadOptions {
  /** Called before bytes of a file are fetched: they must be of the version that is stored. */
  readonly confirm: (name: string, signal: AbortSignal) => Promise<void>;
  readonly onReport?: (report: StoreReport) => void;
}

/**
 * Fetches records and writes them behind their readers' backs. One record is fetched once, however many ask for it. A
 * store that fails is done without: the report's notice says why, and everything is still to be had from the server.
 */
export class Downloads {
  readonly #remote: FileSource;
  readonly #options: DownloadOptions;
  readonly #files: DownloadFile[] = [];
  readonly #turns = new Turns(TURNS, RESERVED);
  /** By file and record, from the request until the record is written. */
  readonly #fetching = new Map<string, Promise<Bytes>>();
  readonly #keeping = new Set<Promise<void>>();
  /** The oldest first. */
  readonly #recent = new Map<string, Bytes>();
  readonly #end = new AbortController();
  readonly #bell = new Bell();
  #next: { readonly file: DownloadFile; readonly record: number } | undefined;
  #filling: Promise<void> | undefined;
  #markTimer: ReturnType<typeof setTimeout> | undefined;
  #failures = 0;
  #failure: unknown;
  #fetchedBytes = 0;
  #notice: string | undefined;
  #isStoring = true;

  constructor(remote: FileSource, options: DownloadOptions) {
    this.#remote = remote;
    this.#options = options;
  }

  get report(): StoreReport {
    const sum = (count: (file: StoredFile) => number) =>
      this.#files.reduce((all, { stored }) => all + count(stored), 0);
    return {
      kind: this.#files.at(-1)?.stored.kind ?? "none",
      storedBytes: sum(({ storedBytes }) => storedBytes),
      sizeBytes: sum(({ records }) => records.sizeBytes),
      fetchedBytes: this.#fetchedBytes,
      notice: this.#notice,
    };
  }

  /** Counts a file among those that are to be stored whole. */
  add(file: DownloadFile): void {
    if (this.#files.includes(file)) return;
    this.#files.push(file);
    this.#changed();
  }

  /** Says from where filling goes on: after what was read last. */
  expect(file: DownloadFile, record: number): void {
    this.#next = { file, record };
  }

  /** Tells the user something about storing. */
  notice(notice: string): void {
    this.#notice ??= notice;
    this.#changed();
  }

  /** Stores nothing from now on. */
  doWithout(cause: unknown): void {
    const { isFull, message } = storeError(cause);
    this.#isStoring = false;
    this.notice(
      isFull
        ? `There is no room for the whole model on this device (${message}). What is missing is fetched each time; remove other models, or free some space.`
        : `The model cannot be stored here (${message}). What is missing is fetched each time.`,
    );
  }

  /** A record that is being fetched, or was a short while ago. */
  underWay(file: DownloadFile, record: number): Promise<Bytes> | Bytes | undefined {
    const key = keyOf(file, record);
    return this.#fetching.get(key) ?? this.#recent.get(key);
  }

  /** Fetches a record for somebody who waits for it. */
  async fetch(file: DownloadFile, record: number): Promise<Bytes> {
    return this.underWay(file, record) ?? this.#run(file, record, this.#turns.take(true));
  }

  /** Fetches what is missing of all files, as turns are free, until `stop`. */
  fill(): void {
    this.#filling ??= this.#fill();
  }

  get isComplete(): boolean {
    return !this.#missing() && this.#fetching.size === 0;
  }

  /** Resolves when nothing is missing or nothing is stored any more; fails when filling keeps failing. */
  async complete(signal?: AbortSignal): Promise<void> {
    this.fill();
    while (this.#isStoring && !this.isComplete && !this.#end.signal.aborted) {
      if (this.#failures >= MAX_FAILURES) throw this.#failure;
      await unlessAborted(this.#bell.heard(), signal);
    }
    await this.#mark();
  }

  /** Ends what is under way, and enters in the index what was written. */
  async stop(): Promise<void> {
    this.#end.abort(new CheckpointError(this.#remote.label, "the model was closed."));
    this.#bell.ring();
    await Promise.all([this.#filling, ...this.#keeping]);
    clearTimeout(this.#markTimer);
    await this.#mark();
    this.#recent.clear();
  }

  async #fill(): Promise<void> {
    const { signal } = this.#end;
    while (!signal.aborted && this.#isStoring) {
      await this.#turns.take(false);
      const next = signal.aborted ? undefined : this.#missing();
      if (!next) {
        this.#turns.give();
        if (!signal.aborted) await this.#bell.heard();
        continue;
      }
      this.#run(next.file, next.record, Promise.resolve()).then(
        () => {
          this.#failures = 0;
        },
        (error) => {
          this.#failures++;
          this.#failure = error;
        },
      );
      if (this.#failures > 0) await pause(Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** this.#failures), signal);
    }
  }

  /** The first record from where somebody reads on that is neither stored nor on its way. */
  #missing(): { file: DownloadFile; record: number } | undefined {
    if (!this.#isStoring) return undefined;
    const first = this.#next ? Math.max(0, this.#files.indexOf(this.#next.file)) : 0;
    // The file where somebody reads comes twice: from there on, and at the end from its start.
    for (let i = 0; i <= this.#files.length; i++) {
      const file = this.#files[(first + i) % this.#files.length];
      if (!file) return undefined;
      for (let record = i === 0 ? (this.#next?.record ?? 0) : 0; record < file.stored.records.count; record++) {
        if (!file.stored.has(record) && !this.#fetching.has(keyOf(file, record))) return { file, record };
      }
    }
    return undefined;
  }

  #run(file: DownloadFile, record: number, turn: Promise<void>): Promise<Bytes> {
    const key = keyOf(file, record);
    const fetched = turn.then(() => this.#fetch(file, record));
    this.#fetching.set(key, fetched);
    // Whoever joined may try again at once.
    fetched.catch(() => this.#fetching.delete(key));
    const kept = fetched
      .then((bytes) => this.#keep(file, record, bytes))
      .catch(() => {})
      .finally(() => {
        if (this.#fetching.get(key) === fetched) this.#fetching.delete(key);
        this.#keeping.delete(kept);
        this.#turns.give();
        this.#changed();
      });
    this.#keeping.add(kept);
    return fetched;
  }

  async #fetch({ name, stored }: DownloadFile, record: number): Promise<Bytes> {
    const { signal } = this.#end;
    signal.throwIfAborted();
    await this.#options.confirm(name, signal);
    const span = stored.records.span(record);
    for (let attempt = 1; attempt <= 2; attempt++) {
      const bytes = await this.#remote.read(name, span, signal);
      this.#fetchedBytes += bytes.length;
      if (await stored.records.accepts(record, bytes)) return bytes;
    }
    const label = `${this.#remote.label}/${name}`;
    throw new CheckpointError(label, `bytes [${span.from}, ${span.to}) are not those of the manifest. Is it complete?`);
  }

  async #keep(file: DownloadFile, record: number, bytes: Bytes): Promise<void> {
    this.#recent.set(keyOf(file, record), bytes);
    for (const oldest of this.#recent.keys()) {
      if (this.#recent.size <= RECENT) break;
      this.#recent.delete(oldest);
    }
    if (!this.#isStoring) return;
    try {
      await file.stored.write(record, bytes);
    } catch (error) {
      this.doWithout(error);
    }
    this.#markTimer ??= setTimeout(() => this.#mark(), MARK_MS);
  }

  async #mark(): Promise<void> {
    this.#markTimer = undefined;
    const marks = await Promise.allSettled(this.#files.map(({ stored }) => stored.mark()));
    for (const mark of marks) if (mark.status === "rejected") this.doWithout(mark.reason);
  }

  #changed(): void {
    this.#bell.ring();
    this.#options.onReport?.(this.report);
  }
}

const keyOf = ({ name }: DownloadFile, record: number): string => `${record} ${name}`;
