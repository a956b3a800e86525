import { CheckpointError } from "../errors.ts";
import { dataBytes, GROUP, type QuantizedFormat } from "./format.ts";
import type { StoredTensor } from "./safetensors.ts";

/**
 * How our own quantised matrices lie in a safetensors file: a matrix X [rows…, columns] is a tensor X, U8 [rows…,
 * columns / 2] for q4 and q4a or I8 [rows…, columns] for q8, and a tensor `X.scales`, F16 [rows…, columns / 32] (q4a:
 * [rows…, columns / 32, 2]), both with the bits of format.ts. `__metadata__` of the file carries PACKED_METADATA, so that no foreign integer tensor is mistaken.
 */
export const PACKED_METADATA = { sluice: "1" } as const;

const DTYPES: Record<QuantizedFormat, string> = { q4: "U8", q4a: "U8", q8: "I8" };

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
  format: QuantizedFormat,
): { data: TensorLayout; scales: TensorLayout } {
  const rows = shape.slice(0, -1);
  const columns = shape.at(-1)!;
  return {
    data: { name, dtype: DTYPES[format], shape: [...rows, dataBytes(format, columns)] },
    scales: {
      name: scalesName(name),
      dtype: "F16",
      shape: [...rows, columns / GROUP, ...(format === "q4a" ? [2] : [])],
    },
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
): { shape: readonly number[]; format: QuantizedFormat } | undefined {
  const format = formatOf(data, scales);
  if (format === undefined) return undefined;
  const shape = [...data.shape.slice(0, -1), (data.shape.at(-1) ?? 0) * (format === "q8" ? 1 : 2)];
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

/** The two 4-bit formats differ in whether scales come in pairs. */
function formatOf(data: StoredTensor, scales: StoredTensor | undefined): QuantizedFormat | undefined {
  if (data.dtype === DTYPES.q8) return "q8";
  if (data.dtype !== DTYPES.q4) return undefined;
  return scales?.shape.length === data.shape.length + 1 ? "q4a" : "q4";
}
