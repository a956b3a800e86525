import type { StoreKind, StoreProbe, StoreUsage } from "../../api/types.ts";
import { MemoryIndex, MemoryStore } from "../../stores/memory-store.ts";
import { StoreError, type StoreIndex, type Stores, type WeightStore } from "../../stores/weight-store.ts";
import { IndexedDbIndex, IndexedDbStore } from "./indexeddb-store.ts";
import { OpfsStore } from "./opfs-store.ts";
import { probeStores } from "./probe-stores.ts";

/** From here on it pays to find out which store is the fastest. */
const LARGE_BYTES = 64 * 2 ** 20;
const PROBE_KEY = "probe";

interface KnownProbe {
  readonly browser: string;
  readonly probes: readonly StoreProbe[];
}

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
    const store = this.#open.get(kind) ?? this.#openStore(kind);
    this.#open.set(kind, store);
    return store;
  }

  async choose(sizeBytes: number): Promise<StoreKind> {
    if (this.#wanted !== "auto") return this.#wanted;
    const probes = await (sizeBytes < LARGE_BYTES ? this.#known() : this.#probe());
    return fastest(probes)?.kind ?? "indexeddb";
  }

  async makeRoom(bytes: number): Promise<string | undefined> {
    // Absent in contexts that are not secure.
    const { storage } = navigator;
    if (this.#wanted === "memory" || !storage) return undefined;
    await askToPersist();
    const { quota, usage = 0 } = await storage.estimate();
    if (quota === undefined || quota - usage >= bytes) return undefined;
    const free = Math.max(0, quota - usage);
    return `The browser offers ${megabytes(free)} of storage and the model needs ${megabytes(bytes)} more: a part of it will be fetched each time.`;
  }

  async usage(): Promise<StoreUsage> {
    const { usage = 0, quota } = await navigator.storage.estimate();
    const [isPersistent, probes] = await Promise.all([navigator.storage.persisted(), this.#known()]);
    return { usedBytes: usage, quotaBytes: quota, isPersistent, ...(probes.length > 0 && { probes }) };
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

  async #openStore(kind: StoreKind): Promise<WeightStore> {
    const best = fastest(await this.#known(), kind);
    switch (kind) {
      case "indexeddb":
        return new IndexedDbStore(best?.form);
      case "opfs":
        return OpfsStore.open(best?.readers ?? 2);
      case "memory":
        return new MemoryStore();
      default:
        throw new StoreError(`a browser has no store of the kind ${kind}`);
    }
  }

  /** What was measured by this browser before. */
  async #known(): Promise<readonly StoreProbe[]> {
    const known = await this.index.get<KnownProbe>(PROBE_KEY);
    return known?.browser === navigator.userAgent ? known.probes : [];
  }

  async #probe(): Promise<readonly StoreProbe[]> {
    const known = await this.#known();
    if (known.length > 0) return known;
    const probes = await probeStores();
    await this.index.update<KnownProbe>(PROBE_KEY, () => ({ browser: navigator.userAgent, probes }));
    return probes;
  }

  async close(): Promise<void> {
    await this.index.close();
    for (const store of this.#open.values()) await store.then((store) => store.close()).catch(() => {});
    this.#open.clear();
  }
}

/** Asks the browser not to remove what this origin stores. It may refuse, and only a page may ask, no worker. */
export async function askToPersist(): Promise<void> {
  if (typeof document === "undefined") return;
  await navigator.storage?.persist?.().catch(() => false);
}

/** Reading counts: a record is written once. */
function fastest(probes: readonly StoreProbe[], kind?: StoreKind): StoreProbe | undefined {
  return probes
    .filter((probe) => kind === undefined || probe.kind === kind)
    .sort((a, b) => b.readBytesPerSecond - a.readBytesPerSecond)[0];
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`;
