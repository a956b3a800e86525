import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { Recorder } from "../gpu/recorder.ts";
import type { GpuWeight } from "../gpu/resources.ts";
import { linear } from "../ops/gpu/linear.ts";
import { dataBytes, scaleBytes, type WeightFormat } from "../weights/format.ts";
import { BatchBuffer, batchConstants, batchLayout } from "./batch-buffer.ts";

export interface DeviceSpeed {
  /** Elements of weights that a millisecond multiplies with one row. */
  readonly elementsPerMs: number;
  /** What a kernel takes however little it does, and a result's way to the host. */
  readonly dispatchMs: number;
  readonly readMs: number;
}

const COLUMNS = 1024;
const ROWS = 4096;
const PRODUCTS = 16;
const SMALL_PRODUCTS = 128;
const RUNS = 3;

/** How fast a device is, from products of its own kernels: within about 2 of what a model makes of it. */
export async function probeSpeed(device: Device, format: WeightFormat): Promise<DeviceSpeed> {
  const limits = { maxTokens: 1, maxSequences: 1, maxBlocks: 1, blockTokens: 1 };
  const batch = new BatchBuffer(limits, device.buffer("probe batch", batchLayout(limits).words * 4));
  device.queue.writeBuffer(batch.gpu!, 0, Uint32Array.of(1, 1, 0));
  const timed = async (rows: number, count: number) => {
    const weight = zeros(device, format, rows);
    const recorder = new Recorder(device.profile, batchConstants(limits));
    const x = recorder.tensor("probe input", 1, COLUMNS);
    for (let i = 0; i < count; i++) linear({ recorder, batchBuffer: batch, rope: batch }, x, weight);
    const plan = await Plan.compile(recorder, device.pipelines, device.arena);
    return fastest(device, plan);
  };
  const readMs = await fastest(device, undefined);
  const dispatchMs = Math.max((await timed(64, SMALL_PRODUCTS)) - readMs, 1e-3) / SMALL_PRODUCTS;
  const productMs = Math.max((await timed(ROWS, PRODUCTS)) - readMs, 1e-3) / PRODUCTS - dispatchMs;
  return { elementsPerMs: (ROWS * COLUMNS) / Math.max(productMs, 1e-4), dispatchMs, readMs };
}

/** Milliseconds of a submit and of a word's way back. */
async function fastest({ gpu, queue }: Device, plan: Plan | undefined): Promise<number> {
  const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
  const staging = gpu.createBuffer({ label: "probe", size: 16, usage });
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i <= RUNS; i++) {
    const startMs = performance.now();
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    plan?.encode(pass);
    pass.end();
    encoder.clearBuffer(staging);
    queue.submit([encoder.finish()]);
    await staging.mapAsync(GPUMapMode.READ);
    staging.unmap();
    // The first one warms up.
    if (i > 0) best = Math.min(best, performance.now() - startMs);
  }
  staging.destroy();
  return best;
}

function zeros(device: Device, format: WeightFormat, rows: number): GpuWeight {
  const label = `probe ${rows}`;
  const data = device.buffer(label, dataBytes(format, rows * COLUMNS));
  const scalesSize = scaleBytes(format, rows * COLUMNS);
  const scales = scalesSize > 0 ? device.buffer(`${label} (scales)`, scalesSize) : undefined;
  return { kind: "weight", label, rows, columns: COLUMNS, format, data, scales };
}
