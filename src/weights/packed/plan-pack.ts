import { invariant } from "../../errors.ts";
import type { WeightFormat, WeightSource } from "../format.ts";
import { ALIGNMENT, aligned, type PackManifest, partLayout, partRowCount } from "./manifest.ts";

/** A matrix to be packed, under its name in the store. */
export interface PackItem {
  readonly name: string;
  readonly source: WeightSource;
  /** What it is packed as. */
  readonly format: WeightFormat;
  /** Experts whose rows it stacks, where it does; the next item is then their other matrix. */
  readonly experts?: number;
}

export interface PackOptions {
  /** Bytes of a shard at most. Default: 512 MB. */
  readonly shardBytes?: number;
}

/** Some rows of one matrix: where in its record, and how many bytes. */
export interface PlannedPart {
  readonly item: PackItem;
  readonly index: number;
  readonly from: number;
  readonly rows: number;
  readonly at: number;
  readonly bytes: number;
}

/** What is written at once, at byte `from` of a shard. */
export interface PlannedRecord {
  readonly shard: number;
  readonly from: number;
  readonly bytes: number;
  readonly parts: readonly PlannedPart[];
}

export interface PackPlan {
  readonly shards: PackManifest["shards"];
  readonly records: readonly PlannedRecord[];
  /** The tensors of the manifest, with hashes still to come. */
  readonly tensors: PackManifest["tensors"];
}

/** Where everything goes: sizes follow from shapes, so all places are known before the first byte is read. */
export function planPack(items: readonly PackItem[], { shardBytes = 512e6 }: PackOptions = {}): PackPlan {
  const shards: { file: string; bytes: number }[] = [];
  const tensors: Record<string, { parts: [number, number, string][] } & PackManifest["tensors"][string]> = {};
  const records = groupsOf(items).flatMap((group) => {
    for (const item of group) {
      const { rows, columns } = item.source;
      tensors[item.name] = { format: item.format, rows, columns, partRows: partRows(item), parts: [] };
    }
    const { rows, partRows: step } = tensors[group[0].name];
    return Array.from({ length: Math.ceil(rows / step) }, (_, index): PlannedRecord => {
      let bytes = 0;
      const parts = group.map((item): PlannedPart => {
        const tensor = tensors[item.name];
        const count = partRowCount(tensor, index);
        const at = aligned(bytes, ALIGNMENT);
        const layout = partLayout(item.format, count, tensor.columns);
        bytes = at + layout.bytes;
        return { item, index, from: index * tensor.partRows, rows: count, at, bytes: layout.bytes };
      });
      invariant(bytes <= shardBytes, `a record of ${bytes} bytes, beyond shards of ${shardBytes}`);
      const from = aligned(shards.at(-1)?.bytes ?? 0, ALIGNMENT);
      const fits = shards.length > 0 && from + bytes <= shardBytes;
      if (!fits) shards.push({ file: `weights-${String(shards.length).padStart(5, "0")}.bin`, bytes: 0 });
      const record = { shard: shards.length - 1, from: fits ? from : 0, bytes, parts };
      shards[record.shard].bytes = record.from + bytes;
      for (const { item, at } of parts) tensors[item.name].parts.push([record.shard, record.from + at, ""]);
      return record;
    });
  });
  return { shards, records, tensors };
}

/** Matrices by themselves, then experts in pairs: a model can start before all experts are there. */
function groupsOf(items: readonly PackItem[]): PackItem[][] {
  const dense = items.filter(({ experts }) => experts === undefined).map((item) => [item]);
  const stacked = items.filter(({ experts }) => experts !== undefined);
  invariant(stacked.length % 2 === 0, "an expert has two matrices");
  const pairs = Array.from({ length: stacked.length / 2 }, (_, i) => stacked.slice(2 * i, 2 * i + 2));
  return [...dense, ...pairs];
}

/** Bytes of a dense matrix's part: enough for fast reads, few enough to be quick to check. */
const PART_BYTES = 4 * 2 ** 20;

/** An expert's rows; of other matrices as many as make a few megabytes, a multiple of 8 for whole words of both planes. */
function partRows({ source: { rows, columns }, format, experts }: PackItem): number {
  if (experts !== undefined) return rows / experts;
  const rowBytes = partLayout(format, 8, columns).data / 8;
  return Math.min(rows, Math.max(8, Math.floor(PART_BYTES / rowBytes / 8) * 8));
}
