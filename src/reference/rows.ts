import type { HostBatch } from "./host-batch.ts";
import { type HostTensor, type HostWeight, hostTensor } from "./host-tensor.ts";

/** Rows of `table` named by the batch's token ids. */
export const embed = (table: HostWeight, batch: HostBatch): HostTensor => gather(table, batch.tokenIds);

/** The last row of each sequence. */
export const lastRows = (x: HostTensor, batch: HostBatch): HostTensor =>
  gather(
    x,
    batch.sequences.map((sequence) => sequence.to - 1),
  );

/** The columns [from, to) of x. */
export function columns(x: HostTensor, from: number, to: number): HostTensor {
  const y = hostTensor(x.rows, to - from);
  for (let row = 0; row < x.rows; row++) {
    y.data.set(x.data.subarray(row * x.columns + from, row * x.columns + to), row * y.columns);
  }
  return y;
}

function gather(table: HostTensor, rows: readonly number[]): HostTensor {
  const y = hostTensor(rows.length, table.columns);
  rows.forEach((row, i) => {
    y.data.set(table.data.subarray(row * table.columns, (row + 1) * table.columns), i * table.columns);
  });
  return y;
}
