import type { CheckpointTensor } from "../checkpoint.ts";
import { dataBytes, GROUP, isQuantized, scaleBytes, type WeightRows } from "../format.ts";
import { asF32, type RowRun, rowSource } from "../row-source.ts";

/** Rows from here and there as one tensor of that shape. */
export function gatherRows(shape: readonly number[], runs: readonly RowRun[]): CheckpointTensor {
  const { label: name, format, auto, read } = rowSource(runs[0].tensor.name, "matrix", shape.at(-1)!, runs);
  const share = ({ tensor, count }: RowRun) => (tensor.sizeBytes * count) / rowsOf(tensor);
  const types = new Set(runs.map(({ tensor }) => tensor.type));
  return {
    ...{ name, shape, format, auto, read },
    ...(types.size === 1 && { type: runs[0].tensor.type }),
    sizeBytes: runs.reduce((sum, run) => sum + share(run), 0),
  };
}

/** Blocks of `size` rows in another order: block h of the result is block `order[h]`. Rows before `first` stay. */
export function reorderRows(tensor: CheckpointTensor, first: number, size: number, order: Order): CheckpointTensor {
  const kept: RowRun[] = first > 0 ? [{ tensor, from: 0, count: first }] : [];
  return gatherRows(tensor.shape, [...kept, ...order.map((h) => ({ tensor, from: first + h * size, count: size }))]);
}

/** The same with columns. Where a format's groups of 32 would be cut, the result is f32. */
export function reorderColumns(tensor: CheckpointTensor, size: number, order: Order): CheckpointTensor {
  const isCut = isQuantized(tensor.format) && size % GROUP !== 0;
  return {
    ...tensor,
    ...(isCut && { format: "f32", auto: tensor.auto ?? tensor.format }),
    async read(from, to, signal) {
      const rows = await tensor.read(from, to, signal);
      return withColumns(isCut ? asF32(rows) : rows, size, order);
    },
  };
}

function withColumns(rows: WeightRows, size: number, order: Order): WeightRows {
  const { format, columns, data, scales } = rows;
  const reorder = (plane: Uint8Array, rowBytes: number, bytes: number) => {
    const moved = plane.slice();
    for (let row = 0; row < rows.rows; row++) {
      for (const [to, from] of order.entries()) {
        const source = row * rowBytes + from * bytes;
        moved.set(plane.subarray(source, source + bytes), row * rowBytes + to * bytes);
      }
    }
    return moved;
  };
  return {
    ...rows,
    data: reorder(data, dataBytes(format, columns), dataBytes(format, size)),
    scales: scales && reorder(scales, scaleBytes(format, columns), scaleBytes(format, size)),
  };
}

/** The same tensor with every number changed on the way, as f32. */
export const mapTensor = (tensor: CheckpointTensor, change: (value: number) => number): CheckpointTensor => ({
  ...tensor,
  format: "f32",
  auto: undefined,
  read: async (from, to, signal) => asF32(await tensor.read(from, to, signal), change),
});

export const rowsOf = ({ shape }: CheckpointTensor): number =>
  shape.slice(0, -1).reduce((product, size) => product * size, 1);

type Order = readonly number[];
