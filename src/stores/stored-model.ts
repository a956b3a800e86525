import { CheckpointError } from "../errors.ts";
import type { FileSource } from "../weights/checkpoint.ts";
import { keyOf } from "./key-of.ts";
import { type FileEntry, fileKey } from "./stored-file.ts";
import type { Stores } from "./weight-store.ts";

/** What the index holds of a model, under `modelKey` of its label. */
export interface ModelEntry {
  readonly label: string;
  readonly usedAtMs: number;
  /** Names of all files, where the source can tell them. */
  readonly list?: readonly string[];
  readonly files: Readonly<Record<string, KnownFile>>;
}

/** A file as it was last seen on the server. */
export interface KnownFile {
  /** Null where there is no such file. */
  readonly sizeBytes: number | null;
  readonly version?: string;
  /** Something was read of it; others were only asked for. */
  readonly isUsed?: boolean;
  /** Of its `StoredFile`, once there is one. */
  readonly id?: string;
}

export const modelKey = async (label: string): Promise<string> => `model/${await keyOf(label)}`;

/** A server that is slow to say whether a file has changed is taken for one that cannot be reached. */
const VALIDATION_MS = 4_000;

/**
 * Which files a model has, and whether what is stored of them is what the server has. Without the server, what was stored
 * is taken as it is, all of it; nothing of another version comes beside it.
 */
export class StoredModel {
  readonly #remote: FileSource;
  readonly #stores: Stores;
  readonly #key: string;
  readonly #known: Map<string, KnownFile>;
  /** Names of files that were taken as they are stored. */
  readonly #assumed = new Set<string>();
  #isOffline = false;

  private constructor(remote: FileSource, stores: Stores, key: string, entry: ModelEntry | undefined) {
    this.#remote = remote;
    this.#stores = stores;
    this.#key = key;
    this.#known = new Map(Object.entries(entry?.files ?? {}));
  }

  static async open(remote: FileSource, stores: Stores): Promise<StoredModel> {
    const key = await modelKey(remote.label);
    const entry = await stores.index.get<ModelEntry>(key);
    const model = new StoredModel(remote, stores, key, entry);
    await model.#note({ usedAtMs: Date.now() });
    return model;
  }

  /** Asks the server for a file, and falls back on what is known of it. */
  async find(name: string, signal: AbortSignal): Promise<KnownFile> {
    const known = this.#known.get(name);
    if (known && this.#isOffline) return this.#assume(name, known);
    const limit = known ? AbortSignal.any([signal, AbortSignal.timeout(VALIDATION_MS)]) : signal;
    let current: KnownFile;
    try {
      current = await this.#ask(name, limit);
    } catch (error) {
      signal.throwIfAborted();
      if (!known) throw error;
      this.#isOffline = true;
      return this.#assume(name, known);
    }
    const settled = await this.#settle(name, current);
    if (this.#isOffline) await this.#confirmAll(signal);
    return settled;
  }

  /** Makes sure, before bytes are fetched, that the server still has the file that was found. */
  async confirm(name: string, signal: AbortSignal): Promise<void> {
    if (!this.#assumed.has(name)) return;
    await this.#settle(name, await this.#ask(name, signal));
    this.#assumed.delete(name);
  }

  /** Names of all files; as they were last time where the server does not answer. */
  async list(signal?: AbortSignal): Promise<readonly string[]> {
    try {
      const list = await this.#remote.list!(signal);
      await this.#note({ list });
      return list;
    } catch (error) {
      signal?.throwIfAborted();
      const entry = await this.#stores.index.get<ModelEntry>(this.#key);
      if (!entry?.list) throw error;
      this.#isOffline = true;
      return entry.list;
    }
  }

  /** Enters where a file's records are. */
  async use(name: string, id: string): Promise<void> {
    const known = this.#known.get(name)!;
    if (known.isUsed && known.id === id) return;
    const used = { ...known, isUsed: true, id };
    await this.#edit({ files: { [name]: used } });
    this.#known.set(name, used);
  }

  async #confirmAll(signal: AbortSignal): Promise<void> {
    this.#isOffline = false;
    for (const name of this.#assumed) await this.confirm(name, signal);
  }

  #assume(name: string, known: KnownFile): KnownFile {
    this.#assumed.add(name);
    return known;
  }

  async #ask(name: string, signal: AbortSignal): Promise<KnownFile> {
    const sizeBytes = (await this.#remote.size(name, signal)) ?? null;
    const version = sizeBytes === null ? undefined : await this.#remote.version?.(name, signal);
    return { sizeBytes, version };
  }

  /** Takes note of what the server has; what was stored of another version is forgotten. */
  async #settle(name: string, current: KnownFile): Promise<KnownFile> {
    const known = this.#known.get(name);
    if (known && known.sizeBytes === current.sizeBytes && known.version === current.version) return known;
    this.#known.set(name, current);
    await this.#note({ files: { [name]: current } });
    if (known?.id) await removeFile(this.#stores, known.id);
    if (known && this.#assumed.size > 0) {
      const happened = "the model changed on its server after a part of it was read from this device. Load it again.";
      throw new CheckpointError(`${this.#remote.label}/${name}`, happened);
    }
    return current;
  }

  /** Enters what is worth knowing next time. Where that cannot be, as on a full disk, what is stored can still be read. */
  async #note(changes: Partial<ModelEntry>): Promise<void> {
    await this.#edit(changes).catch(() => {});
  }

  async #edit({ files, ...changes }: Partial<ModelEntry>): Promise<void> {
    await this.#stores.index.update<ModelEntry>(this.#key, (entry) => ({
      label: this.#remote.label,
      usedAtMs: Date.now(),
      ...entry,
      ...changes,
      files: { ...entry?.files, ...files },
    }));
  }
}

/** Forgets a file and its records. */
export async function removeFile(stores: Stores, id: string): Promise<void> {
  const { index } = stores;
  const entry = await index.get<FileEntry>(fileKey(id));
  if (!entry) return;
  // Where this fails, as a file that another tab has open, nothing has changed. What is left without records is not read:
  // they are not there.
  await (await stores.open(entry.store)).remove(id);
  await index.update(fileKey(id), () => undefined);
}
