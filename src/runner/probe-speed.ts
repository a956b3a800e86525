import type { Device } from "../gpu/device.ts";
import { Plan } from "../gpu/plan.ts";
import { Recorder } from "../gpu/recorder.ts";
import type { GpuWeight } from "../gpu/resources.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import { linear } from "../ops/gpu/linear.ts";
import type { WeightSource } from "../weights/format.ts";
import { planWeight, weightBuffers } from "../weights/load.ts";
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

/** Layers that are timed: two of attention, where every fourth one is. */
const LAYERS = 8;

const STRETCH = 5;
const TOKENS = 1 + 4 * STRETCH;

/** How fast a device runs a model, from some of its layers without their weights, and with no more experts than a token takes. */
export async function probeSpeed(
  device: Device,
  sources: ModelWeights<WeightSource>,
  options: RunnerOptions,
): Promise<DeviceSpeed> {
  const readMs = await leastMs(() => submitted(device));
  const head = empty(device, planWeight(sources.head, options.quantization));
  const headMs = Math.max((await productMs(device, head)) - readMs, 1e-3);
  const layers = Math.min(LAYERS, sources.layers.length);
  const passMs = await layersMs(device, sources, options, layers);
  const elementsPerMs = (head.rows * head.columns) / headMs;
  return { layerMs: Math.max(passMs - readMs, 1e-3) / layers, headMs, elementsPerMs, readMs };
}

async function layersMs(
  device: Device,
  sources: ModelWeights<WeightSource>,
  options: RunnerOptions,
  count: number,
): Promise<number> {
  const incoming = { ...sources.embedding, rows: 1, format: "f32", role: "vector" } as const;
  const runner = await ModelRunner.load(
    { ...sources, embedding: incoming, head: incoming, layers: sources.layers.slice(0, count).map(withFewExperts) },
    {
      ...options,
      config: { ...options.config, layers: options.config.layers.slice(0, count) },
      ...{ maxContext: TOKENS + 1, maxBatchTokens: 1, maxSequences: 1, snapshots: 0, cacheTokens: undefined },
      isInner: true,
      device,
      loadWeight: async (source, step) => empty(device, planWeight(source, step.quantization)),
    },
  );
  const hidden = new Float32Array(incoming.columns).fill(0.1);
  return leastMs((position) =>
    runner.pass({ kind: "decode", steps: [{ tokens: [0], position, slot: 0, blocks: [0] }], hidden }),
  );
}

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
  return leastMs(() => submitted(device, plan));
}

/** The fastest of some stretches, since whatever else runs here slows all ways alike. */
async function leastMs(run: (time: number) => Promise<unknown>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  // The first time warms up.
  await run(0);
  for (let time = 1; time < TOKENS; ) {
    const startMs = performance.now();
    for (let end = time + STRETCH; time < end; time++) await run(time);
    least = Math.min(least, (performance.now() - startMs) / STRETCH);
  }
  return least;
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
function empty(device: Device, planned: GpuWeight): GpuWeight {
  const [data, scales] = weightBuffers(planned).map(({ label, sizeBytes }) => device.buffer(label, sizeBytes));
  return { ...planned, data, scales };
}
