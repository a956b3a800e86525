import type { StoreReport } from "../api/types.ts";
import type { FileSource } from "../weights/checkpoint.ts";
import { readAhead } from "../weights/read-ahead.ts";
import { CachedSource, type CacheOptions } from "./cached-source.ts";
import { type Stores, storeError } from "./weight-store.ts";

/** A remote model's files, kept in `stores` as they are read; just as they are, with a notice, where that cannot be. */
export async function cachedFiles(remote: FileSource, stores: Stores, options: CacheOptions): Promise<FileSource> {
  try {
    return readAhead(await CachedSource.open(remote, stores, options));
  } catch (error) {
    const notice = `Models cannot be stored here (${storeError(error).message}). In a private window, or without permission to store, they are fetched each time.`;
    options.onReport?.({ ...NOTHING, notice });
    await stores.close().catch(() => {});
    return remote;
  }
}

const NOTHING: StoreReport = { kind: "none", storedBytes: 0, sizeBytes: 0, fetchedBytes: 0 };
