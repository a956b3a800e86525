import { CheckpointError } from "../errors.ts";
import { dataBytes, GROUP, scaleBytes } from "./format.ts";
import type { StoredTensor } from "./safetensors.ts";

/**
 * How our own quantised matrices lie in a safetensors file: a matrix X [rows…, columns] is a tensor X, U8 [rows…,
 * columns / 2] for q4 or I8 [rows…, columns] for q8, and a tensor `X.scales`, F16 [rows…, columns / 32], both with the
 * bits of format.ts. `__metadata__` of the file carries PACKED_METADATA, so that no foreign integer tensor is mistaken.
 */
export const PACKED_METADATA = { sluice: "1" } as const;

export type PackedFormat = "q4" | "q8";

const DTYPES = { q4: "U8", q8: "I8" } as const;

/** What a file says of one tensor, without its place. */
export interface TensorLayout {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

/** The two tensors that hold the matrix `name` of logical `shape`. */
export function packedLayout(
  name: string,
  shape: readonly number[],
  format: PackedFormat,
): { data: TensorLayout; scales: TensorLayout } {
  const rows = shape.slice(0, -1);
  const columns = shape.at(-1)!;
  return {
    data: { name, dtype: DTYPES[format], shape: [...rows, dataBytes(format, columns)] },
    scales: { name: scalesName(name), dtype: "F16", shape: [...rows, scaleBytes(format, columns) / 2] },
  };
}

export const scalesName = (name: string): string => `${name}.scales`;

/** Whether a file's tensors U8 and I8 are ours; fails for a version that is still to come. */
export function isPackedFile(label: string, metadata: Readonly<Record<string, string>>): boolean {
  const version = metadata.sluice;
  if (version !== undefined && version !== PACKED_METADATA.sluice) {
    throw new CheckpointError(
      label,
      `this is version ${version} of Sluice's quantised format. Update Sluice to read it.`,
    );
  }
  return version !== undefined;
}

/** The logical shape and the format of a matrix of a packed file, or undefined where `data` is of another dtype. */
export function unpackLayout(
  label: string,
  data: StoredTensor,
  scales: StoredTensor | undefined,
): { shape: readonly number[]; format: PackedFormat } | undefined {
  const format = data.dtype === DTYPES.q4 ? "q4" : data.dtype === DTYPES.q8 ? "q8" : undefined;
  if (format === undefined) return undefined;
  const shape = [...data.shape.slice(0, -1), (data.shape.at(-1) ?? 0) * (format === "q4" ? 2 : 1)];
  if (shape.at(-1)! % GROUP !== 0) {
    throw new CheckpointError(
      label,
      `tensor ${data.name} has ${shape.at(-1)} columns; ${format} needs a multiple of 32.`,
    );
  }
  const expected = packedLayout(data.name, shape, format).scales;
  if (scales?.dtype !== expected.dtype || scales.shape.join() !== expected.shape.join()) {
    const found = scales ? `${scales.dtype} [${scales.shape.join(", ")}]` : "missing";
    throw new CheckpointError(label, `tensor ${expected.name} is ${found}, not F16 [${expected.shape.join(", ")}].`);
  }
  return { shape, format };
}
