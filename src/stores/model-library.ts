import type { LoadOptions, StoredModelInfo, StoreReport, StoreUsage } from "../api/types.ts";
import { InvalidRequestError, LLMError } from "../errors.ts";
import type { FileSource } from "../weights/checkpoint.ts";
import { readAhead } from "../weights/read-ahead.ts";
import { CachedSource } from "./cached-source.ts";
import { type FileEntry, fileKey, StoredFile } from "./stored-file.ts";
import { type ModelEntry, modelKey, removeFile } from "./stored-model.ts";
import { tarStream } from "./tar.ts";
import type { Stores } from "./weight-store.ts";

export interface DownloadOptions {
  /** For private and gated models of the Hub, as `LLM.load` takes it. */
  readonly hubToken?: LoadOptions["hubToken"];
  readonly onProgress?: (report: StoreReport) => void;
  readonly signal?: AbortSignal;
}

/** The models that are stored on this device, by the address that they were loaded from (without a query string). */
export class ModelLibrary {
  readonly #open: () => Stores;
  readonly #remote: (source: string, token?: LoadOptions["hubToken"]) => FileSource;

  /** `open` gives stores that are closed after each use; `remote` the files at an address. */
  constructor(open: () => Stores, remote: (source: string, token?: LoadOptions["hubToken"]) => FileSource) {
    this.#open = open;
    this.#remote = remote;
  }

  /** Every model of which something is stored, the last used first. */
  list(): Promise<StoredModelInfo[]> {
    return this.#with(async ({ index }) => {
      const entries = new Map(await index.entries());
      const models = [...entries].filter(([key]) => key.startsWith("model/")).map(([, entry]) => entry as ModelEntry);
      const fileOf = (id: string | undefined) => entries.get(fileKey(id ?? "")) as FileEntry | undefined;
      return models
        .map((model) => describe(model, fileOf))
        .filter(({ storedBytes }) => storedBytes > 0)
        .sort((a, b) => b.usedAtMs - a.usedAtMs);
    });
  }

  /** Fetches what is missing of a model, whether it was loaded before or not. */
  download(source: string, { hubToken, onProgress, signal }: DownloadOptions = {}): Promise<void> {
    return this.#with(async (stores) => {
      const files = await CachedSource.open(this.#remote(source, hubToken), stores, { onReport: onProgress });
      try {
        // Reading the headers tells which files the model has.
        const { openCheckpoint } = await import("../weights/open-checkpoint.ts");
        await openCheckpoint(readAhead(files), signal);
        await files.complete(signal);
        const { storedBytes, sizeBytes, notice } = files.report;
        if (storedBytes < sizeBytes) throw new LLMError(notice ?? `${source} was removed while it was downloaded.`);
      } finally {
        await files.close();
      }
    });
  }

  /** Removes what is stored of a model. */
  remove(source: string): Promise<void> {
    return this.#with(async (stores) => {
      const key = await modelKey(this.#remote(source).label);
      const model = await stores.index.get<ModelEntry>(key);
      for (const { id } of Object.values(model?.files ?? {})) if (id) await removeFile(stores, id);
      await stores.index.update(key, () => undefined);
    });
  }

  /** The files of a model that is stored whole, as one tar archive. */
  async export(source: string): Promise<ReadableStream<Uint8Array>> {
    const stores = this.#open();
    try {
      const model = await stores.index.get<ModelEntry>(await modelKey(this.#remote(source).label));
      const used = Object.entries(model?.files ?? {}).filter(([, { isUsed }]) => isUsed);
      const files = await Promise.all(
        used.map(async ([name, { id }]) => ({ name, stored: await StoredFile.find(id ?? "", stores) })),
      );
      if (files.length === 0 || files.some(({ stored }) => !stored?.isComplete)) {
        throw new InvalidRequestError("source", `${source} is not stored whole. Download it first.`);
      }
      const entries = files.map(({ name, stored }) => ({
        ...{ name, sizeBytes: stored!.records.sizeBytes },
        bytes: readAll(stored!, `${source}/${name}`),
      }));
      return tarStream(entries, () => stores.close());
    } catch (error) {
      await stores.close();
      throw error;
    }
  }

  /** How much this origin, or the cache folder, holds and may hold. */
  usage(): Promise<StoreUsage> {
    return this.#with((stores) => stores.usage());
  }

  async #with<T>(use: (stores: Stores) => Promise<T>): Promise<T> {
    const stores = this.#open();
    try {
      return await use(stores);
    } finally {
      await stores.close();
    }
  }
}

function describe(
  { label, usedAtMs, files }: ModelEntry,
  fileOf: (id: string | undefined) => FileEntry | undefined,
): StoredModelInfo {
  const used = Object.values(files).filter(({ isUsed }) => isUsed);
  const stored = used.map(({ id }) => fileOf(id));
  const storedBytes = stored.reduce((sum, file) => sum + (file?.storedBytes ?? 0), 0);
  const sizeBytes = used.reduce((sum, file) => sum + (file.sizeBytes ?? 0), 0);
  const stores = [...new Set(stored.flatMap((file) => file?.store ?? []))];
  const source = sourceOf(
    label,
    Object.keys(files).filter((name) => files[name].isUsed),
  );
  return { source, storedBytes, sizeBytes, isComplete: storedBytes === sizeBytes, usedAtMs, stores };
}

/** What the model is loaded by: a label names folders only, and no `.gguf` in them. */
function sourceOf(label: string, used: readonly string[]): string {
  const gguf = used.filter((name) => /\.gguf$/i.test(name)).sort()[0] ?? "";
  if (!label.startsWith("hf:")) return gguf ? `${label}/${encodeURIComponent(gguf)}` : label;
  const [, repository, folder = ""] = /^(hf:[^:]+):?(.*)$/.exec(label)!;
  const path = `${folder && `${folder}/`}${gguf}`;
  return path ? `${repository}:${path}` : repository;
}

async function* readAll(file: StoredFile, label: string): AsyncGenerator<Uint8Array> {
  for (let record = 0; record < file.records.count; record++) {
    const bytes = await file.read(record, file.records.span(record));
    if (!bytes) throw new InvalidRequestError("source", `a part of ${label} is damaged. Download the model again.`);
    yield bytes;
  }
}
