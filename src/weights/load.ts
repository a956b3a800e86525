import type { Quantization } from "../api/types.ts";
import { allSettled, eachAtOnce } from "../common/turns.ts";
import type { Device } from "../gpu/device.ts";
import type { GpuWeight } from "../gpu/resources.ts";
import { TURNS } from "../gpu/uploads.ts";
import { convertRows } from "./convert.ts";
import { dataBytes, isQuantized, scaleBytes, type WeightFormat, type WeightRows, type WeightSource } from "./format.ts";
import { deviceFormat } from "./plan-format.ts";

/** A weight without memory: enough to record and plan with. */
export function planWeight(source: WeightSource, quantization: Quantization): GpuWeight {
  const { label, rows, columns } = source;
  return { kind: "weight", label, rows, columns, format: deviceFormat(source, quantization) };
}

/** Bytes of a weight on the device. */
export const weightBytes = (weight: GpuWeight): number =>
  weightBuffers(weight).reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

/** The buffers that a weight takes: its data, and its scales where the format has them. */
export function weightBuffers({ label, rows, columns, format }: GpuWeight): { label: string; sizeBytes: number }[] {
  const data = { label, sizeBytes: dataBytes(format, rows * columns) };
  const scales = { label: `${label} (scales)`, sizeBytes: scaleBytes(format, rows * columns) };
  return isQuantized(format) ? [data, scales] : [data];
}

export interface LoadStep {
  readonly device: Device;
  readonly quantization: Quantization;
  readonly signal?: AbortSignal;
  /** Called with the bytes that were read from the checkpoint. */
  readonly onBytes: (bytes: number) => void;
}

/** Reads a weight some rows at a time, a few slices at once, converts them, and uploads them. */
export async function loadWeight(source: WeightSource, step: LoadStep): Promise<GpuWeight> {
  const { device, signal, onBytes } = step;
  const planned = planWeight(source, step.quantization);
  const { label, rows, columns, format } = planned;
  const { data, scales } = await device.allocating(label, weightBytes(planned), () => {
    const [data, scales] = weightBuffers(planned).map((plane) => device.buffer(plane.label, plane.sizeBytes));
    return { data, scales };
  });
  const load = async (slices: readonly number[], sliceRows: number) => {
    signal?.throwIfAborted();
    // Asked for at once, so that they can be read at once.
    const stored = await allSettled(slices.map((from) => source.read(from, Math.min(from + sliceRows, rows), signal)));
    const slice = stored.map((part) => convertRows(part, format, label));
    const at = (bytes: typeof dataBytes) => (i: number) => bytes(format, slices[i] * columns);
    const plane = (target: GPUBuffer, of: (part: WeightRows) => Uint8Array, offset: (i: number) => number) =>
      slice.map((part, i) => ({ target, bytes: of(part), offset: offset(i) }));
    await device.uploads.put([
      ...plane(data, (part) => part.data, at(dataBytes)),
      ...(scales ? plane(scales, (part) => part.scales!, at(scaleBytes)) : []),
    ]);
    for (const { data, scales, release } of stored) {
      onBytes(data.byteLength + (scales?.byteLength ?? 0));
      release?.();
    }
  };
  const { sliceRows, turns } = slicesOf(source, format);
  await eachAtOnce(turns, TURNS, (slices) => device.uploads.turns.run(() => load(slices, sliceRows)));
  return { ...planned, data, scales };
}

/** Elements of one slice: a few megabytes, so that neither host memory nor the queue's staging grows with the model. */
const SLICE_ELEMENTS = 2 ** 20;

/**
 * The first rows of slices, by turns of those that are read at once. Slices start at whole words of both planes: at parts
 * of the source where those do, else at multiples of 8.
 */
function slicesOf({ rows, columns, partRows, turnBytes = 0, ...source }: WeightSource, format: WeightFormat) {
  const bytesAs = (format: WeightFormat, rows: number) =>
    dataBytes(format, rows * columns) + scaleBytes(format, rows * columns);
  const bytes = (rows: number) => Math.max(bytesAs(format, rows), bytesAs(source.format, rows));
  const isWhole =
    partRows && dataBytes(format, partRows * columns) % 4 === 0 && scaleBytes(format, partRows * columns) % 4 === 0;
  const step = isWhole ? partRows : 8;
  const sliceRows = Math.max(step, Math.floor(SLICE_ELEMENTS / columns / step) * step);
  const perTurn = Math.max(1, Math.floor(turnBytes / bytes(sliceRows)));
  const slices = Array.from({ length: Math.ceil(rows / sliceRows) }, (_, i) => i * sliceRows);
  const turns = Array.from({ length: Math.ceil(slices.length / perTurn) }, (_, i) =>
    slices.slice(i * perTurn, (i + 1) * perTurn),
  );
  return { sliceRows, turns };
}
