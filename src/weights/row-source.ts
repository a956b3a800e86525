import type { CheckpointTensor } from "./checkpoint.ts";
import { decodeRows } from "./decode.ts";
import {
  dataBytes,
  isQuantized,
  scaleBytes,
  type WeightFormat,
  type WeightRole,
  type WeightRows,
  type WeightSource,
} from "./format.ts";

/** Consecutive rows of one tensor. */
export interface RowRun {
  readonly tensor: CheckpointTensor;
  readonly from: number;
  readonly count: number;
}

/**
 * A matrix put together from rows of tensors, in the order given. Whole rows move, with their scales, so they keep their
 * format; vectors, and matrices whose tensors differ in format, become f32.
 */
export function rowSource(label: string, role: WeightRole, columns: number, runs: readonly RowRun[]): WeightSource {
  const formats = new Set(runs.map(({ tensor }) => tensor.format));
  const format = role !== "vector" && formats.size === 1 ? runs[0].tensor.format : "f32";
  return {
    label,
    role,
    columns,
    format,
    ...(role !== "vector" && { auto: autoFormat(runs) }),
    rows: runs.reduce((sum, run) => sum + run.count, 0),
    turnBytes: runs[0].tensor.turnBytes,
    async read(from, to, signal) {
      const reads = readsFor(piecesOf(runs, from, to));
      const [{ tensor, first, end, pieces }] = reads;
      if (reads.length === 1 && pieces.length === 1 && tensor.format === format) return tensor.read(first, end, signal);
      const target: WeightRows = {
        format,
        rows: to - from,
        columns,
        data: new Uint8Array(dataBytes(format, (to - from) * columns)),
        scales: newScales(scaleBytes(format, (to - from) * columns)),
      };
      const load = async ({ tensor, first, end, pieces }: Read) => {
        const rows = await tensor.read(first, end, signal);
        const source = rows.format === format ? rows : asF32(rows);
        for (const piece of pieces) copyRows(source, piece.from - first, target, piece.at, piece.count);
        rows.release?.();
      };
      await Promise.all(reads.map(load));
      return target;
    },
  };
}

/**
 * What `auto` makes of tensors on top of each other: what all of them ask for; else what holds the most exact of them, where
 * different quantised formats meet in q8, and quantised ones take on the f16 or bf16 of their neighbours.
 */
function autoFormat(runs: readonly RowRun[]): WeightFormat {
  const wanted = [...new Set(runs.map(({ tensor }) => tensor.auto ?? tensor.format))];
  const plain = wanted.filter((format) => !isQuantized(format));
  if (wanted.length === 1 || plain.length === 1) return plain[0] ?? wanted[0];
  return plain.length === 0 ? "q8" : "f32";
}

/** The same matrix with every number changed on the way, as f32. */
export function mapSource(source: WeightSource, change: (value: number) => number): WeightSource {
  return {
    ...source,
    format: "f32",
    auto: undefined,
    read: async (from, to, signal) => asF32(await source.read(from, to, signal), change),
  };
}

/** A run that lands in row `at` of what is read. */
interface Piece extends RowRun {
  readonly at: number;
}

/** What of `runs` falls into the rows [from, to). */
function piecesOf(runs: readonly RowRun[], from: number, to: number): Piece[] {
  const pieces: Piece[] = [];
  let start = 0;
  for (const { tensor, from: source, count } of runs) {
    const first = Math.max(from, start);
    const end = Math.min(to, start + count);
    if (first < end) pieces.push({ tensor, from: source + first - start, count: end - first, at: first - from });
    start += count;
  }
  return pieces;
}

interface Read {
  readonly tensor: CheckpointTensor;
  readonly first: number;
  end: number;
  readonly pieces: Piece[];
}

/**
 * Few reads instead of many: a piece joins the one before it in its tensor where the rows between them, which nobody
 * wants, are no more than its own. An interleaved projection would otherwise be fetched two rows at a time.
 */
function readsFor(pieces: readonly Piece[]): Read[] {
  const reads: Read[] = [];
  const lastOf = new Map<CheckpointTensor, Read>();
  for (const piece of pieces.toSorted((a, b) => a.from - b.from)) {
    const last = lastOf.get(piece.tensor);
    const end = piece.from + piece.count;
    if (last && piece.from - last.end <= piece.count) {
      last.end = end;
      last.pieces.push(piece);
    } else {
      const read = { tensor: piece.tensor, first: piece.from, end, pieces: [piece] };
      reads.push(read);
      lastOf.set(piece.tensor, read);
    }
  }
  return reads;
}

function copyRows(source: WeightRows, from: number, target: WeightRows, at: number, count: number): void {
  const { format, columns } = target;
  const copy = (bytes: number, read?: Uint8Array, write?: Uint8Array) =>
    read && write?.set(read.subarray(from * bytes, (from + count) * bytes), at * bytes);
  copy(dataBytes(format, columns), source.data, target.data);
  copy(scaleBytes(format, columns), source.scales, target.scales);
}

/** Scale planes end on a whole u32. */
const newScales = (bytes: number): Uint8Array | undefined =>
  bytes ? new Uint8Array(Math.ceil(bytes / 4) * 4) : undefined;

export function asF32(rows: WeightRows, change?: (value: number) => number): WeightRows {
  const values = decodeRows(rows);
  const data = change ? values.map(change) : values;
  return {
    format: "f32",
    rows: rows.rows,
    columns: rows.columns,
    data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  };
}
