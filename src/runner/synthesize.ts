import { Plan } from "../gpu/plan.ts";
import { Recorder } from "../gpu/recorder.ts";
import type { GpuWeight } from "../gpu/resources.ts";
import { synthesize } from "../kernels/weights/synthesize.ts";
import {
  dataBytes,
  type QuantizedFormat,
  scaleBytes,
  type WeightFormat,
  type WeightSource,
} from "../weights/format.ts";
import { type LoadStep, planWeight } from "../weights/load.ts";
import { LEVEL_DEVIATION, madeUpVector, seedOf } from "../weights/made-up.ts";

/**
 * Makes a weight up on the device instead of reading it: seeded by its name, and scaled so that every matrix keeps the
 * size of what it multiplies. For benches of shapes whose checkpoints are not at hand.
 */
export async function synthesizeWeight(
  source: WeightSource,
  { device, quantization, onBytes }: LoadStep,
): Promise<GpuWeight> {
  const planned = planWeight(source, quantization);
  const { label, rows, columns, format } = planned;
  const elements = rows * columns;
  const seed = seedOf(label);
  const data = device.buffer(label, dataBytes(format, elements));
  if (source.role === "vector") {
    device.queue.writeBuffer(data, 0, madeUpVector(label, elements));
    onBytes?.(data.size);
    return { ...planned, data };
  }
  const fill = async (buffer: GPUBuffer, kind: number, amplitude: number) => {
    // One pipeline for all weights: their seeds are not worth compiling in.
    const recorder = new Recorder({ ...device.profile, specialize: false });
    const words = { kind: "buffer", label, sizeBytes: buffer.size, gpu: buffer } as const;
    synthesize(recorder, {
      buffers: { words },
      constants: { KIND: kind, SEED: seed, AMPLITUDE: amplitude },
      grid: [4096],
    });
    const plan = await Plan.compile(recorder, device.pipelines, device.arena);
    const encoder = device.gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    plan.encode(pass);
    pass.end();
    device.queue.submit([encoder.finish()]);
    onBytes?.(buffer.size);
  };
  const deviation = 1 / Math.sqrt(columns);
  await fill(data, KINDS[format], deviation * Math.sqrt(3));
  const scalesSize = scaleBytes(format, elements);
  if (scalesSize === 0) return { ...planned, data };
  const scales = device.buffer(`${label} (scales)`, scalesSize);
  const quantized = format as QuantizedFormat;
  await fill(scales, quantized === "q4a" ? PAIRS : SCALES, deviation / LEVEL_DEVIATION[quantized]);
  return { ...planned, data, scales };
}

const KINDS: Record<WeightFormat, number> = { q4: 0, q4a: 0, q8: 0, f32: 1, bf16: 2, f16: 3 };
const SCALES = 4;
const PAIRS = 5;
