import type { LoadProgress, StoreReport } from "../../src/api/types.ts";
import { LLM, storedModels } from "../../src/index.ts";
import { IndexedDbIndex, IndexedDbStore } from "../../src/platform/browser/indexeddb-store.ts";
import { OpfsStore } from "../../src/platform/browser/opfs-store.ts";
import { browserPlatform } from "../../src/platform/browser/platform.ts";
import { probeStores } from "../../src/platform/browser/probe-stores.ts";
import { BrowserStores } from "../../src/platform/browser/stores.ts";
import { CachedSource, type CacheOptions } from "../../src/stores/cached-source.ts";
import type { FileEntry } from "../../src/stores/stored-file.ts";
import { httpSource } from "../../src/weights/http-source.ts";
import { sha256 } from "../../src/weights/packed/sha256.ts";
import { checkIndex, checkStore } from "./store-contract.ts";

/** What tests of stores call in a page. */
const tests = {
  /** Reads files whole through the store; their digests, and how it went. */
  async load(
    url: string,
    names: readonly string[],
    { store = "auto", complete = true, ...options }: LoadTest = {},
  ): Promise<{ digests: string[]; report: CachedSource["report"] }> {
    const remote = httpSource(url, { attempts: 3, firstDelayMs: 10 });
    const source = await CachedSource.open(remote, new BrowserStores(store), options);
    const digests: string[] = [];
    for (const name of names) digests.push(await sha256(await source.read(name)));
    if (complete) await source.complete();
    await source.close();
    return { digests, report: source.report };
  },

  /** The store contract, and that of the index. */
  async contract(seed: number): Promise<void> {
    const open = [
      async () => new IndexedDbStore("buffer"),
      async () => new IndexedDbStore("blob"),
      () => OpfsStore.open(1),
      () => OpfsStore.open(3),
    ];
    for (const each of open) {
      const store = await each();
      await checkStore(store, seed);
      await store.close();
    }
    await checkIndex(new IndexedDbIndex());
  },

  /** Reads a file to its middle, does something, and reads the rest. */
  async loadWhile(
    url: string,
    name: string,
    meanwhile: () => Promise<void>,
  ): Promise<{ digest: string; notice?: string }> {
    const remote = httpSource(url, { attempts: 3, firstDelayMs: 10 });
    const source = await CachedSource.open(remote, new BrowserStores(), { fill: false });
    const size = (await source.size(name))!;
    const middle = Math.floor(size / 2);
    const bytes = new Uint8Array(size);
    bytes.set(await source.read(name, { from: 0, to: middle }));
    await meanwhile();
    bytes.set(await source.read(name, { from: middle, to: size }), middle);
    await source.close();
    return { digest: await sha256(bytes), notice: source.report.notice };
  },

  /** Reads a file as `LLM.load` would open it. */
  async loadAnyhow(url: string, name: string): Promise<{ digest: string; notice?: string }> {
    let notice: string | undefined;
    const onReport = (report: StoreReport) => {
      notice = report.notice;
    };
    const files = await browserPlatform.openFiles(url, { store: "auto", onReport });
    const digest = await sha256(await files.read(name));
    await files.close?.();
    return { digest, notice };
  },

  /** Loads a model and disposes of it at once; the bytes that were fetched until then. */
  async fetchedUntilDisposed(url: string): Promise<number> {
    let fetched = 0;
    const onProgress = ({ store }: LoadProgress) => {
      fetched = store?.fetchedBytes ?? fetched;
    };
    const llm = await LLM.load(url, { device: { reference: true }, onProgress });
    await llm.dispose();
    return fetched;
  },

  /** Loads a model as any user does, continues a prompt, and waits until the rest of the model is stored too. */
  async generate(url: string): Promise<{ tokenIds: readonly number[]; store?: StoreReport }> {
    let store: StoreReport | undefined;
    const onProgress = (progress: LoadProgress) => {
      store = progress.store;
    };
    const llm = await LLM.load(url, { device: { reference: true }, onProgress });
    const { tokenIds } = await llm.generate([1, 2, 3], { maxTokens: 3, temperature: 0 }).finish();
    while (!(await storedModels.list())[0]?.isComplete) await new Promise((resolve) => setTimeout(resolve, 50));
    await llm.dispose();
    return { tokenIds, store };
  },

  list: () => storedModels.list(),

  async exportedBytes(url: string): Promise<number> {
    return (await new Response(await storedModels.export(url)).arrayBuffer()).byteLength;
  },

  remove: (url: string) => storedModels.remove(url),

  /** Bytes that the index counts. */
  async storedBytes(): Promise<number> {
    const index = new IndexedDbIndex();
    const entries = await index.entries();
    await index.close();
    return entries.reduce((sum, [key, value]) => {
      return key.startsWith("file/") ? sum + (value as FileEntry).storedBytes : sum;
    }, 0);
  },

  async deleteDatabase(): Promise<void> {
    const request = indexedDB.deleteDatabase("sluice");
    await new Promise((resolve, reject) => {
      request.onsuccess = resolve;
      request.onblocked = () => reject(new Error("somebody holds the database"));
    });
  },

  /** Changes a byte of the only file in the private file system. */
  async flipByte(at: number): Promise<void> {
    const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("sluice");
    for await (const handle of (folder as unknown as { values(): AsyncIterable<FileSystemFileHandle> }).values()) {
      const byte = new Uint8Array(await (await handle.getFile()).slice(at, at + 1).arrayBuffer())[0];
      const writable = await handle.createWritable({ keepExistingData: true });
      await writable.write({ type: "write", position: at, data: Uint8Array.of(byte ^ 1) });
      await writable.close();
    }
  },

  probe: (recordBytes: number, milliseconds: number) => probeStores({ recordBytes, milliseconds }),
};

export interface LoadTest extends CacheOptions {
  readonly store?: ConstructorParameters<typeof BrowserStores>[0];
  readonly complete?: boolean;
}
export type StoreTests = typeof tests;
Object.assign(globalThis, { tests });
