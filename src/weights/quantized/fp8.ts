import type { CheckpointTensor } from "../checkpoint.ts";
import type { StoredTensor } from "../safetensors.ts";
import { bytesOf } from "../views.ts";
import { inexact } from "./affine.ts";
import { decodeElements, E4M3, FLOAT_TYPES } from "./elements.ts";
import { type Parts, rowCount } from "./parts.ts";

/**
 * F8_E4M3 [rows…, columns] with scales that are multiplied, as both `weight_scale_inv` of block-wise files and `weight_scale`
 * of compressed-tensors and ModelOpt are: one for the matrix, for each row, for each block of `block` rows and columns, or for
 * each 32 of a row.
 */
export function fp8Tensor(
  parts: Parts,
  data: StoredTensor,
  scale: StoredTensor,
  block: readonly [number, number] = [128, 128],
): CheckpointTensor {
  const { name, shape } = data;
  const columns = shape.at(-1)!;
  const matrixRows = shape.at(-2) ?? 1;
  const [blockRows, blockColumns] = blockSize(parts, data, scale, block);
  const scaleColumns = Math.ceil(columns / blockColumns);
  // Blocks begin anew with each matrix of a 3-D tensor.
  const scaleRow = (row: number) =>
    Math.floor(row / matrixRows) * Math.ceil(matrixRows / blockRows) + Math.floor((row % matrixRows) / blockRows);
  const scaleRows = { ...scale, shape: [elementCount(scale) / scaleColumns, scaleColumns] };
  return parts.tensor(name, shape, inexact("FP8"), async (from, to, signal) => {
    const first = scaleRow(from);
    const [codes, bytes] = await Promise.all([
      parts.rows(data, from, to, signal),
      parts.rows(scaleRows, first, from < to ? scaleRow(to - 1) + 1 : first, signal),
    ]);
    const scales = decodeElements(scale.dtype === "U8" ? "F8_E8M0" : scale.dtype, bytes);
    const values = new Float32Array(codes.length);
    for (let row = from, i = 0; row < to; row++) {
      const at = (scaleRow(row) - first) * scaleColumns;
      for (let start = 0; start < columns; start += blockColumns) {
        const factor = scales[at + start / blockColumns];
        const end = i + Math.min(blockColumns, columns - start);
        for (; i < end; i++) values[i] = E4M3[codes[i]] * factor;
      }
    }
    return { format: "f32", rows: to - from, columns, data: bytesOf(values) };
  });
}

/** Powers of two are stored as F8_E8M0 or as U8. */
export const SCALE_TYPES = [...FLOAT_TYPES, "F8_E8M0", "U8"];

const elementCount = ({ shape }: StoredTensor): number => shape.reduce((product, size) => product * size, 1);

/** Rows and columns that share a scale, by the shape of the scales. */
function blockSize(
  parts: Parts,
  { name, shape }: StoredTensor,
  scale: StoredTensor,
  [height, width]: readonly [number, number],
): [number, number] {
  const columns = shape.at(-1)!;
  const rows = shape.at(-2) ?? 1;
  const matrices = rowCount(shape) / rows;
  const sizes: [number, number][] = [
    [height, width],
    [1, columns],
    [rows, columns],
    [1, MX_GROUP],
  ];
  const dense = (sizes: readonly number[]) => sizes.filter((size) => size !== 1).join();
  const found =
    SCALE_TYPES.includes(scale.dtype) &&
    sizes.find(([r, c]) => dense([matrices, Math.ceil(rows / r), Math.ceil(columns / c)]) === dense(scale.shape));
  if (found) return found;
  const expected = `${name} [${shape.join(", ")}] in blocks of ${height} × ${width}, rows, or as a whole`;
  throw parts.error(`${scale.name} is ${scale.dtype} [${scale.shape.join(", ")}], which does not fit ${expected}.`);
}

/** Columns that share a scale in the MX formats. */
const MX_GROUP = 32;
