import { OutOfMemoryError } from "../errors.ts";
import { type ModelWeights, sumWeights } from "../models/qwen3-next/weights.ts";
import { stateBytes } from "../runner/layer-states.ts";
import { type RunnerOptions, runnerLimits } from "../runner/memory-plan.ts";
import type { WeightSource } from "../weights/format.ts";
import { planWeight, weightBytes } from "../weights/load.ts";
import { type LayerRange, splitLayers } from "./stage-weights.ts";

/** Of a device's memory, what is left for weights and states beside scratch and the driver's own. */
const USABLE = 0.9;

/**
 * What a layer costs besides its bytes: its six to nine launches, as bytes that a large GPU could have read meanwhile (4 TB/s, 3 to
 * 4 µs each). Going by bytes alone, a head of 330 MB would count as seven layers of the 80B, and it takes the time of one or two.
 */
const LAUNCHES = 1e8;

/**
 * Which layers go to which stage: so that the slowest is as fast as can be, going by the bytes that a token reads and what
 * layers are launched for, and each has room for its own.
 *
 * @throws OutOfMemoryError where there is no such split
 */
export function stageRanges(
  sources: ModelWeights<WeightSource>,
  options: Omit<RunnerOptions, "kvFormat">,
  memoryBytes: readonly (number | undefined)[],
): LayerRange[] {
  const { config, quantization } = options;
  const limits = runnerLimits(options);
  const state = stateBytes(config, "f32", limits.blockTokens);
  const bytes = (source: WeightSource) => weightBytes(planWeight(source, quantization));
  const layers = sources.layers.map((layer, i) => {
    const { weight } = sources.finalNorm;
    const { total, active } = sumWeights({ ...sources, embedding: weight, head: weight, layers: [layer] }, bytes);
    const isAttention = config.layers[i].mixer === "attention";
    const states = isAttention ? 2 * limits.blocks * state.keys : limits.slots * (state.conv + state.delta);
    return { memory: total + states, time: active + LAUNCHES };
  });
  const sum = (of: "memory" | "time", { from, to }: LayerRange) =>
    layers.slice(from, to).reduce((total, layer) => total + layer[of], 0);
  const stages = memoryBytes.length;
  const head = bytes(sources.head);
  const outer = (stage: number, of: "memory" | "time") =>
    (stage === 0 && of === "memory" ? bytes(sources.embedding) : 0) + (stage === stages - 1 ? head : 0);
  const ranges = splitLayers(layers.length, stages, (stage, range) => {
    const room = (memoryBytes[stage] ?? Number.POSITIVE_INFINITY) * USABLE;
    if (sum("memory", range) + outer(stage, "memory") > room) return Number.POSITIVE_INFINITY;
    return sum("time", range) + outer(stage, "time");
  });
  if (ranges) return ranges;
  const needed = sum("memory", { from: 0, to: layers.length }) + bytes(sources.embedding) + head;
  throw new OutOfMemoryError(
    needed,
    `The model's ${layers.length} layers do not fit ${stages} stages: they take ${(needed / 1e9).toFixed(1)} GB in all. ` +
      "Use more GPUs, a smaller --quantization, or a shorter context.",
  );
}
