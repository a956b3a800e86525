import type { StoreProbe } from "../../api/types.ts";
import { type ProbeCandidate, probeStore } from "../../stores/probe.ts";
import { IndexedDbStore } from "./indexeddb-store.ts";
import { OpfsStore } from "./opfs-store.ts";

export interface ProbeOptions {
  /** Default 2 MiB, which is what records have. */
  readonly recordBytes?: number;
  /** For each of the candidates. Default 200. */
  readonly milliseconds?: number;
}

const candidates: readonly ProbeCandidate[] = [
  ...(["buffer", "blob"] as const).map((form) => ({ form, open: async () => new IndexedDbStore(form) })),
  ...[1, 2, 4].map((readers) => ({ readers, open: () => OpfsStore.open(readers) })),
];

/** Measures the stores of this browser, in about a second; one that does not work here is left out. */
export async function probeStores({
  recordBytes = 2 ** 21,
  milliseconds = 200,
}: ProbeOptions = {}): Promise<StoreProbe[]> {
  const probes: StoreProbe[] = [];
  for (const candidate of candidates) {
    const probe = await probeStore(candidate, recordBytes, milliseconds).catch(() => undefined);
    if (probe) probes.push(probe);
  }
  return probes;
}
