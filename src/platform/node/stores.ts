import { statfs } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import type { StoreKind } from "../../api/types.ts";
import { MemoryIndex, MemoryStore } from "../../stores/memory-store.ts";
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
    const { bavail, bsize } = await statfs(this.#folder);
    const free = bavail * bsize;
    if (free >= bytes) return undefined;
    const [has, needs] = [free, bytes].map((count) => `${(count / 1e9).toFixed(1)} GB`);
    return `${this.#folder} has room for ${has}, and the model needs ${needs} more: a part of it will be fetched each time. SLUICE_CACHE names another folder.`;
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
