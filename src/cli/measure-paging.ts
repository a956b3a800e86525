import { readFile } from "node:fs/promises";
import type { PagingStats } from "../api/types.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import { ExpertReader } from "../paging/expert-reader.ts";
import { sparseLayers } from "../runner/paged-experts.ts";
import type { WeightSource } from "../weights/format.ts";

/** What the cache of experts has done, all layers together. */
export interface PagingCounts {
  readonly hits: number;
  readonly misses: number;
  readonly readAhead: number;
  readonly useful: number;
  readonly bytes: number;
  readonly waitMs: number;
  /** Bytes that this process has had from disks, and not from the system's memory; where the system says. */
  readonly diskBytes: number | undefined;
}

export async function countPaging(stats: PagingStats | undefined): Promise<PagingCounts | undefined> {
  if (!stats) return undefined;
  const sum = (key: Exclude<keyof PagingCounts, "diskBytes">) =>
    stats.layers.reduce((total, layer) => total + layer[key], 0);
  return {
    hits: sum("hits"),
    misses: sum("misses"),
    readAhead: sum("readAhead"),
    useful: sum("useful"),
    bytes: sum("bytes"),
    waitMs: sum("waitMs"),
    diskBytes: await diskBytes(),
  };
}

/** Of `tokens` tokens, of which each pair says what was before and after some. */
export function pagingOf(
  tokens: number,
  runs: readonly { readonly before?: PagingCounts; readonly after?: PagingCounts }[],
) {
  const total = (key: keyof PagingCounts) =>
    runs.reduce((sum, { before, after }) => sum + (after?.[key] ?? 0) - (before?.[key] ?? 0), 0);
  const [readAhead, misses] = [total("readAhead"), total("misses")];
  return {
    hitRate: 1 - misses / (total("hits") + misses),
    bytesPerToken: total("bytes") / tokens,
    ...(runs[0].after?.diskBytes !== undefined && { diskBytesPerToken: total("diskBytes") / tokens }),
    waitMsPerToken: total("waitMs") / tokens,
    readAheadPerToken: readAhead / tokens,
    usefulShare: readAhead > 0 ? total("useful") / readAhead : 0,
  };
}

/** Bytes a second of experts from all over the model, read as the pager reads them, with nothing else to do. */
export async function measureStore(sources: ModelWeights<WeightSource>): Promise<number> {
  const layers = sparseLayers(sources);
  const reader = new ExpertReader(
    layers.map(({ gateUp, down, experts }) =>
      [gateUp, down].map((source) => ({ source, rows: source.rows / experts, format: source.format })),
    ),
  );
  const start = performance.now();
  let bytes = 0;
  const read = async (i: number) => {
    const layer = i % layers.length;
    for (const { data, scales, release } of await reader.read(layer, (i * 7919) % layers[layer].experts)) {
      bytes += data.byteLength + (scales?.byteLength ?? 0);
      release?.();
    }
  };
  await Promise.all(Array.from({ length: PROBED }, (_, i) => read(i)));
  return (1000 * bytes) / (performance.now() - start);
}

const PROBED = 256;

/** Linux counts what a process's reads have cost its disks. */
async function diskBytes(): Promise<number | undefined> {
  const text = await readFile("/proc/self/io", "utf8").catch(() => "");
  const found = /^read_bytes: (\d+)$/m.exec(text);
  return found ? Number(found[1]) : undefined;
}
