import { access, statfs } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import type { StoreKind, StoreUsage } from "../../api/types.ts";
import { MemoryIndex, MemoryStore } from "../../stores/memory-store.ts";
import type { FileEntry } from "../../stores/stored-file.ts";
import { StoreError, type StoreIndex, type Stores, type WeightStore } from "../../stores/weight-store.ts";
import { FileStore, FolderIndex } from "./file-store.ts";

/** SLUICE_CACHE, else the folder that the system means for caches. */
export function cacheFolder({ SLUICE_CACHE, XDG_CACHE_HOME, LOCALAPPDATA } = process.env): string {
  if (SLUICE_CACHE) return SLUICE_CACHE;
  if (process.platform === "win32" && LOCALAPPDATA) return join(LOCALAPPDATA, "sluice", "cache");
  if (process.platform === "darwin") return join(homedir(), "Library", "Caches", "sluice");
  return join(XDG_CACHE_HOME || join(homedir(), ".cache"), "sluice");
}

/** A cache folder, or memory. */
export class NodeStores implements Stores {
  readonly index: StoreIndex;
  readonly #kind: "files" | "memory";
  readonly #folder: string;
  readonly #open = new Map<StoreKind, WeightStore>();

  /** Fails with `StoreError` where `wanted` is a browser's. */
  constructor(wanted: StoreKind | "auto" = "auto", folder: string = cacheFolder()) {
    this.#kind = wanted === "memory" ? "memory" : "files";
    this.#folder = folder;
    this.index = this.#kind === "memory" ? new MemoryIndex() : new FolderIndex(folder);
  }

  async open(kind: StoreKind): Promise<WeightStore> {
    if (kind !== this.#kind) throw new StoreError(`the store ${kind} is not to be had here`);
    const store = this.#open.get(kind) ?? (kind === "memory" ? new MemoryStore() : new FileStore(this.#folder));
    this.#open.set(kind, store);
    return store;
  }

  async choose(): Promise<StoreKind> {
    return this.#kind;
  }

  async makeRoom(bytes: number): Promise<string | undefined> {
    if (this.#kind === "memory") return undefined;
    const { bavail, bsize } = await statfs(await existing(this.#folder));
    const free = bavail * bsize;
    if (free >= bytes) return undefined;
    const [has, needs] = [free, bytes].map((count) => `${(count / 1e9).toFixed(1)} GB`);
    return `${this.#folder} has room for ${has}, and the model needs ${needs} more: a part of it will be fetched each time. SLUICE_CACHE names another folder.`;
  }

  async usage(): Promise<StoreUsage> {
    const entries = await this.index.entries();
    const files = entries.filter(([key]) => key.startsWith("file/")).map(([, value]) => value as FileEntry);
    const usedBytes = files.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
    if (this.#kind === "memory") return { usedBytes, isPersistent: false };
    const { bavail, bsize } = await statfs(await existing(this.#folder));
    return { usedBytes, quotaBytes: usedBytes + bavail * bsize, isPersistent: true };
  }

  /** Programs may store the same model at once: they write the same bytes to the same places. */
  async lead(): Promise<boolean> {
    return true;
  }

  async close(): Promise<void> {
    await this.index.close();
    for (const store of this.#open.values()) await store.close();
    this.#open.clear();
  }
}

/** The folder, or the first above it that is there. */
async function existing(folder: string): Promise<string> {
  const isThere = await access(folder).then(
    () => true,
    () => false,
  );
  return isThere || dirname(folder) === folder ? folder : existing(dirname(folder));
}
