import { probeStores } from "../../src/platform/browser/probe-stores.ts";
import { BrowserStores } from "../../src/platform/browser/stores.ts";
import { CachedSource, type CacheOptions } from "../../src/stores/cached-source.ts";
import { httpSource } from "../../src/weights/http-source.ts";
import { sha256 } from "../../src/weights/packed/sha256.ts";

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

  probe: (recordBytes: number, milliseconds: number) => probeStores({ recordBytes, milliseconds }),
};

export interface LoadTest extends CacheOptions {
  readonly store?: ConstructorParameters<typeof BrowserStores>[0];
  readonly complete?: boolean;
}
export type StoreTests = typeof tests;
Object.assign(globalThis, { tests });
