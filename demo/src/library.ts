import {
  probeStores,
  type StoredModelInfo,
  type StoreProbe,
  type StoreReport,
  type StoreUsage,
  storedModels,
} from "sluice";
import { isSameAddress, labelOf } from "./address.ts";
import { FlowRate } from "./flow-rate.ts";
import { bytes } from "./format.ts";
import { page, showToast } from "./page.ts";
import { type Problem, problemOf } from "./problems.ts";
import { Store, useStore } from "./store.ts";

/** The models that this browser keeps, and what is being fetched of them. */
export interface Library {
  /** The last used first; undefined until they were looked for. */
  readonly models: readonly StoredModelInfo[] | undefined;
  readonly usage: StoreUsage | undefined;
  /** By source. */
  readonly downloads: Readonly<Record<string, Download>>;
  readonly isMeasuring: boolean;
  /** Measured in this tab; those of the browser are in `usage`. */
  readonly probes: readonly StoreProbe[] | undefined;
}

export type Download =
  | {
      readonly kind: "running";
      readonly report?: StoreReport;
      readonly bytesPerSecond: number;
      readonly abort: AbortController;
    }
  | { readonly kind: "failed"; readonly problem: Problem };

export const library = new Store<Library>({
  models: undefined,
  usage: undefined,
  downloads: {},
  isMeasuring: false,
  probes: undefined,
});

export const useLibrary = <T>(select: (library: Library) => T): T => useStore(library, select);

/** Looks again; where a browser stores nothing, the list is empty. */
export async function refreshLibrary(): Promise<void> {
  const [models, usage] = await Promise.all([
    storedModels.list().catch(() => []),
    storedModels.usage().catch(() => undefined),
  ]);
  library.set({ models, usage });
}

/** Fetches what is missing of a model. */
export async function download(source: string): Promise<void> {
  const abort = new AbortController();
  const rate = new FlowRate();
  let bytesPerSecond = 0;
  set(source, { kind: "running", bytesPerSecond, abort });
  try {
    await storedModels.download(source, {
      hubToken: page.state.hubToken || undefined,
      signal: abort.signal,
      onProgress: (report) => {
        if (abort.signal.aborted) return;
        bytesPerSecond = rate.at(report.fetchedBytes, performance.now());
        set(source, { kind: "running", report, bytesPerSecond, abort });
      },
    });
    set(source, undefined);
    page.set({ announcement: `${labelOf(source)} is stored.` });
  } catch (error) {
    set(source, abort.signal.aborted ? undefined : { kind: "failed", problem: problemOf(error) });
  }
  await refreshLibrary();
}

export function cancelDownload(source: string): void {
  const { [source]: running } = library.state.downloads;
  if (running?.kind === "running") running.abort.abort();
}

export async function removeModel({ source, storedBytes }: StoredModelInfo): Promise<void> {
  cancelDownload(source);
  set(source, undefined);
  await attempt(async () => {
    await storedModels.remove(source);
    showToast({ text: `${labelOf(source)} was deleted, ${bytes(storedBytes)} are free.` });
  });
  await refreshLibrary();
}

/** Above this a file goes straight to disk, where the browser lets a page do that. */
const LARGE_BYTES = 256e6;

export async function exportModel({ source, sizeBytes }: StoredModelInfo): Promise<void> {
  const name = `${labelOf(source).replace(/[^\p{L}\p{N}._-]+/gu, "-")}.tar`;
  await attempt(async () => {
    const picker = (globalThis as { showSaveFilePicker?: typeof pickFile }).showSaveFilePicker;
    if (picker && sizeBytes > LARGE_BYTES) {
      const file = await picker({ suggestedName: name });
      await (await storedModels.export(source)).pipeTo(await file.createWritable());
    } else {
      const url = URL.createObjectURL(await new Response(await storedModels.export(source)).blob());
      Object.assign(document.createElement("a"), { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    }
  });
}

/** Not in the types yet. */
declare function pickFile(options: { suggestedName: string }): Promise<FileSystemFileHandle>;

export async function measureStores(): Promise<void> {
  library.set({ isMeasuring: true });
  await attempt(async () => library.set({ probes: await probeStores() }));
  library.set({ isMeasuring: false });
}

export async function askToKeep(): Promise<void> {
  const isKept = await navigator.storage.persist().catch(() => false);
  if (!isKept) {
    showToast({ text: "The browser does not promise it. It often does for pages that are bookmarked or used a lot." });
  }
  await refreshLibrary();
}

/** What is stored of the model at an address. */
export const storedModel = ({ models }: Library, address: string): StoredModelInfo | undefined =>
  models?.find(({ source }) => isSameAddress(source, address));

/** Bytes a second of the fastest store, as far as it was measured. */
export const readSpeed = ({ probes, usage }: Library): number | undefined => {
  const speeds = (probes ?? usage?.probes ?? []).map(({ readBytesPerSecond }) => readBytesPerSecond);
  return speeds.length > 0 ? Math.max(...speeds) : undefined;
};

async function attempt(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if ((error as Error).name !== "AbortError") showToast({ text: problemOf(error).message });
  }
}

function set(source: string, download: Download | undefined): void {
  library.set(({ downloads: { [source]: _, ...others } }) => ({
    downloads: download ? { ...others, [source]: download } : others,
  }));
}
