import type { Quantization } from "../api/types.ts";
import type { Device } from "../gpu/device.ts";
import type { GpuWeight } from "../gpu/resources.ts";
import { convertRows } from "./convert.ts";
import { dataBytes, isQuantized, scaleBytes, type WeightFormat, type WeightSource } from "./format.ts";
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
  const sliceRows = rowsOfSlice(source, format);
  const slices = Array.from({ length: Math.ceil(rows / sliceRows) }, (_, i) => i * sliceRows);
  await eachSlice(slices, async (from) => {
    signal?.throwIfAborted();
    const stored = await source.read(from, Math.min(from + sliceRows, rows), signal);
    onBytes(stored.data.byteLength + (stored.scales?.byteLength ?? 0));
    const slice = convertRows(stored, format, label);
    upload(device.queue, data, dataBytes(format, from * columns), slice.data);
    if (scales) upload(device.queue, scales, scaleBytes(format, from * columns), slice.scales!);
  });
  return { ...planned, data, scales };
}

/** Elements of one slice: a few megabytes, so that neither host memory nor the queue's staging grows with the model. */
const SLICE_ELEMENTS = 2 ** 20;
/** Reading and checking hashes keep as many cores busy as there are slices under way. */
const SLICES_AT_ONCE = 12;

/** Slices start at whole words of both planes: at parts of the source where those do, else at multiples of 8. */
function rowsOfSlice({ columns, partRows }: WeightSource, format: WeightFormat): number {
  const isWhole =
    partRows && dataBytes(format, partRows * columns) % 4 === 0 && scaleBytes(format, partRows * columns) % 4 === 0;
  const step = isWhole ? partRows : 8;
  return Math.max(step, Math.floor(SLICE_ELEMENTS / columns / step) * step);
}

/** Calls `load` for all, and returns when nothing is under way any more; after a failure it begins no more. */
async function eachSlice(slices: readonly number[], load: (from: number) => Promise<void>): Promise<void> {
  const rest = slices.values();
  let hasFailed = false;
  const work = async () => {
    for (const from of rest) {
      if (hasFailed) return;
      try {
        await load(from);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: SLICES_AT_ONCE }, work));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

function upload(queue: GPUQueue, buffer: GPUBuffer, offset: number, bytes: Uint8Array): void {
  const whole = bytes.byteLength & ~3;
  if (whole > 0) queue.writeBuffer(buffer, offset, bytes.buffer as ArrayBuffer, bytes.byteOffset, whole);
  if (whole === bytes.byteLength) return;
  const tail = new Uint8Array(4);
  tail.set(bytes.subarray(whole));
  queue.writeBuffer(buffer, offset + whole, tail);
}
