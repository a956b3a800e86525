import { typicalMs } from "../common/typical-ms.ts";
import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { Recorder } from "../gpu/recorder.ts";
import type { GpuWeight } from "../gpu/resources.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import { linear } from "../ops/gpu/linear.ts";
import type { WeightSource } from "../weights/format.ts";
import { type LoadStep, planWeight, weightBuffers } from "../weights/load.ts";
import { BatchBuffer, batchConstants, batchLayout } from "./batch-buffer.ts";
import type { RunnerOptions } from "./memory-plan.ts";
import { ModelRunner } from "./model-runner.ts";

export interface DeviceSpeed {
  /** One token in a layer, all of whose experts are there. */
  readonly layerMs: number;
  /** One row through the head. */
  readonly headMs: number;
  /** Elements of weights that a millisecond multiplies with one row. */
  readonly elementsPerMs: number;
  /** What a result takes to the host, however little it is. */
  readonly readMs: number;
}

/** Layers that are timed at most: two of attention, where every fourth one is. */
const LAYERS = 8;

/** Tokens that a probe may read. */
export const PROBE_TOKENS = 64;

/** How fast a device runs a model, from some of its layers without their weights, and with no more experts than a token takes. */
export async function probeSpeed(
  device: Device,
  sources: ModelWeights<WeightSource>,
  options: RunnerOptions,
): Promise<DeviceSpeed> {
  const readMs = await typicalMs(() => submitted(device));
  const head = empty(device, planWeight(sources.head, options.quantization));
  const headMs = Math.max((await productMs(device, head)) - readMs, 1e-3);
  const few = { ...sources, layers: sources.layers.map(withFewExperts) };
  const { runner, layers } = await someLayers(device, few, options);
  const hidden = new Float32Array(sources.embedding.columns).fill(0.1);
  const passMs = await typicalMs((position) => runner.pass(oneRow(position, hidden)));
  const elementsPerMs = (head.rows * head.columns) / headMs;
  return { layerMs: Math.max(passMs - readMs, 1e-3) / layers, headMs, elementsPerMs, readMs };
}

/** The first layers of a model, whose rows come from elsewhere, without their weights unless `loadWeight` has some. */
export async function someLayers(
  device: Device,
  sources: ModelWeights<WeightSource>,
  options: RunnerOptions,
  loadWeight = async (source: WeightSource, { device, quantization }: LoadStep) =>
    empty(device, planWeight(source, quantization)),
): Promise<{ readonly runner: ModelRunner; readonly layers: number }> {
  const incoming = { ...sources.embedding, rows: 1, format: "f32", role: "vector" } as const;
  const layers = sources.layers.slice(0, LAYERS);
  const { config } = options;
  const runner = await ModelRunner.load(
    { ...sources, embedding: incoming, head: incoming, layers },
    {
      ...options,
      config: { ...config, layers: config.layers.slice(0, LAYERS) },
      ...{ maxContext: PROBE_TOKENS, maxBatchTokens: 1, maxSequences: 1, snapshots: 0, cacheTokens: undefined },
      isInner: true,
      device,
      loadWeight,
    },
  );
  return { runner, layers: layers.length };
}

/** A step of one token. */
export const oneRow = (position: number, hidden: Float32Array<ArrayBuffer>) =>
  ({ kind: "decode", steps: [{ tokens: [0], position, slot: 0, blocks: [0] }], hidden }) as const;

type Layer = ModelWeights<WeightSource>["layers"][number];

function withFewExperts(layer: Layer): Layer {
  const { feedForward } = layer;
  if (feedForward.kind === "dense") return layer;
  const { router, experts } = feedForward;
  const { topK, gateUp, down } = experts;
  const few = (source: WeightSource): WeightSource => ({ ...source, rows: (source.rows / experts.experts) * topK });
  return {
    ...layer,
    feedForward: {
      ...feedForward,
      router: few(router),
      experts: { ...experts, experts: topK, gateUp: few(gateUp), down: few(down) },
    },
  };
}

async function productMs(device: Device, weight: GpuWeight): Promise<number> {
  const limits = { maxTokens: 1, maxSequences: 1, maxBlocks: 1, blockTokens: 1 };
  const batch = new BatchBuffer(limits, device.buffer("probe batch", batchLayout(limits).words * 4));
  device.queue.writeBuffer(batch.gpu!, 0, Uint32Array.of(1, 1, 0));
  const recorder = new Recorder(device.profile, batchConstants(limits));
  const x = recorder.tensor("probe input", 1, weight.columns);
  linear({ recorder, batchBuffer: batch, rope: batch }, x, weight);
  const plan = await Plan.compile(recorder, device.pipelines, device.arena);
  return typicalMs(() => submitted(device, plan));
}

/** A submit, and a word's way back. */
async function submitted({ gpu, queue }: Device, plan?: Plan): Promise<void> {
  const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
  const staging = gpu.createBuffer({ label: "probe", size: 16, usage });
  const encoder = gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  plan?.encode(pass);
  pass.end();
  encoder.clearBuffer(staging);
  queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  staging.destroy();
}

/** Zeros. */
export function empty(device: Device, planned: GpuWeight): GpuWeight {
  const [data, scales] = weightBuffers(planned).map(({ label, sizeBytes }) => device.buffer(label, sizeBytes));
  return { ...planned, data, scales };
}
