import type { Tensor, Weight } from "../ops/ops.ts";
import { decodeRows } from "../weights/decode.ts";
import type { WeightSource } from "../weights/format.ts";

/** A matrix in host memory, row-major without gaps. Expert ids are stored as the numbers they are. */
export interface HostTensor extends Tensor {
  readonly data: Float32Array;
}

/** A weight of the reference: any format, decoded once. */
export interface HostWeight extends Weight {
  readonly data: Float32Array;
}

export function hostTensor(rows: number, columns: number, data = new Float32Array(rows * columns)): HostTensor {
  return { rows, columns, data };
}

/** Reads all of a source into memory. */
export async function loadHostWeight(source: WeightSource, signal?: AbortSignal): Promise<HostWeight> {
  return hostTensor(source.rows, source.columns, decodeRows(await source.read(0, source.rows, signal)));
}
