import type { Quantization } from "../api/types.ts";
import type { Tensor, Weight } from "../ops/ops.ts";
import { convertRows } from "../weights/convert.ts";
import { decodeRows } from "../weights/decode.ts";
import type { WeightSource } from "../weights/format.ts";
import { deviceFormat } from "../weights/plan-format.ts";

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

/** Reads all of a source into memory, rounded as `quantization` would have it on a device. */
export async function loadHostWeight(
  source: WeightSource,
  { quantization = "auto", signal, onBytes }: LoadHostOptions = {},
): Promise<HostWeight> {
  const { rows, columns, label } = source;
  const stored = await source.read(0, rows, signal);
  onBytes?.(stored.data.byteLength + (stored.scales?.byteLength ?? 0));
  return hostTensor(rows, columns, decodeRows(convertRows(stored, deviceFormat(source, quantization), label)));
}

interface LoadHostOptions {
  readonly quantization?: Quantization;
  readonly signal?: AbortSignal;
  /** Called with the bytes that were read from the checkpoint. */
  readonly onBytes?: (bytes: number) => void;
}
