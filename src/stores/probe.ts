import type { StoreProbe } from "../api/types.ts";
import type { WeightStore } from "./weight-store.ts";

export interface ProbeCandidate {
  readonly form?: StoreProbe["form"];
  readonly readers?: number;
  readonly open: () => Promise<WeightStore>;
}

const READS_AT_ONCE = 8;

/**
 * Writes some records of noise, reads them for a while, and removes them. Noise, because some browsers compress what they
 * store, and weights do not get smaller.
 */
export async function probeStore(
  { open, ...variant }: ProbeCandidate,
  recordBytes: number,
  milliseconds: number,
): Promise<StoreProbe> {
  const store = await open();
  const file = `probe-${crypto.randomUUID()}`;
  const spans = Array.from({ length: READS_AT_ONCE }, (_, i) => ({ from: i * recordBytes, to: (i + 1) * recordBytes }));
  const bytes = noise(recordBytes);
  try {
    let written = 0;
    const startMs = performance.now();
    for (const span of spans) {
      await store.write(file, span, bytes);
      written++;
      if (performance.now() - startMs > milliseconds / 2) break;
    }
    await store.flush(file);
    const writeMs = performance.now() - startMs;

    let readBytes = 0;
    const readStartMs = performance.now();
    const reader = async (_: unknown, turn: number) => {
      for (let i = turn; performance.now() - readStartMs < milliseconds / 2; i += 3) {
        readBytes += (await store.read(file, spans[i % written]))?.length ?? 0;
      }
    };
    await Promise.all(spans.map(reader));
    const readMs = performance.now() - readStartMs;
    return {
      kind: store.kind,
      ...variant,
      recordBytes,
      writeBytesPerSecond: (written * recordBytes * 1000) / writeMs,
      readBytesPerSecond: (readBytes * 1000) / readMs,
    };
  } finally {
    await store.remove(file).catch(() => {});
    await store.close();
  }
}

function noise(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  // The generator gives 64 KiB at most.
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}
