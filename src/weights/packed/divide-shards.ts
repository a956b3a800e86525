import type { FileSource } from "../checkpoint.ts";
import { listRecords, type PackManifest, type PackRecord } from "./manifest.ts";

/** Records smaller than this share one with their neighbours: each costs a request. */
const LEAST_BYTES = 2 ** 20;

/** Tells a source that keeps copies which records its shards have, so that an expert is fetched and kept by itself. */
export function divideShards(files: FileSource, manifest: PackManifest): void {
  if (!files.divide) return;
  const records = listRecords(manifest);
  for (const { file, bytes } of manifest.shards) {
    const groups = grouped(records.filter((record) => record.file === file));
    const bounds = [0, ...groups.slice(1).map(([{ from }]) => from), bytes];
    files.divide(file, { bounds, checks: groups.map((group) => group.flatMap(({ parts }) => parts)) });
  }
}

function grouped(records: readonly PackRecord[]): PackRecord[][] {
  const groups: PackRecord[][] = [];
  for (const record of records) {
    const last = groups.at(-1);
    if (last && last.at(-1)!.to - last[0].from < LEAST_BYTES) last.push(record);
    else groups.push([record]);
  }
  return groups;
}
