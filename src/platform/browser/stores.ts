import type { StoreKind } from "../../api/types.ts";
import { MemoryIndex, MemoryStore } from "../../stores/memory-store.ts";
import { StoreError, type StoreIndex, type Stores, type WeightStore } from "../../stores/weight-store.ts";
import { IndexedDbIndex, IndexedDbStore } from "./indexeddb-store.ts";

/** The stores of a page's origin. What is stored is listed in IndexedDB, wherever the records are. */
export class BrowserStores implements Stores {
  readonly index: StoreIndex;
  readonly #wanted: StoreKind | "auto";
  readonly #open = new Map<StoreKind, Promise<WeightStore>>();

  constructor(wanted: StoreKind | "auto" = "auto") {
    this.#wanted = wanted;
    this.index = wanted === "memory" ? new MemoryIndex() : new IndexedDbIndex();
  }

  open(kind: StoreKind): Promise<WeightStore> {
    const store = this.#open.get(kind) ?? openStore(kind);
    this.#open.set(kind, store);
    return store;
  }

  async choose(): Promise<StoreKind> {
    return this.#wanted === "auto" ? "indexeddb" : this.#wanted;
  }

  async makeRoom(bytes: number): Promise<string | undefined> {
    // Absent in contexts that are not secure.
    const { storage } = navigator;
    if (this.#wanted === "memory" || !storage) return undefined;
    await storage.persist?.().catch(() => false);
    const { quota, usage = 0 } = await storage.estimate();
    if (quota === undefined || quota - usage >= bytes) return undefined;
    const free = Math.max(0, quota - usage);
    return `The browser offers ${megabytes(free)} of storage and the model needs ${megabytes(bytes)} more: a part of it will be fetched each time.`;
  }

  async lead(name: string, signal: AbortSignal): Promise<boolean> {
    const { locks } = navigator;
    if (this.#wanted === "memory" || !locks) return true;
    return new Promise((resolve) => {
      const hold = () => {
        resolve(true);
        return new Promise<void>((release) => signal.addEventListener("abort", () => release(), { once: true }));
      };
      locks.request(`sluice:${name}`, { signal }, hold).catch(() => resolve(false));
    });
  }

  async close(): Promise<void> {
    await this.index.close();
    for (const store of this.#open.values()) await store.then((store) => store.close()).catch(() => {});
    this.#open.clear();
  }
}

async function openStore(kind: StoreKind): Promise<WeightStore> {
  switch (kind) {
    case "indexeddb":
      return new IndexedDbStore();
    case "memory":
      return new MemoryStore();
    default:
      throw new StoreError(`a browser has no store of the kind ${kind}`);
  }
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
