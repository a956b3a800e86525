import type { Device } from "../gpu/device.ts";
import type { GpuWeight } from "../gpu/resources.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import type { ExpertWeights, Weight } from "../ops/ops.ts";
import { ExpertArena } from "../paging/expert-arena.ts";
import type { ExpertShape } from "../paging/expert-host.ts";
import type { WeightSource } from "../weights/format.ts";
import type { RunnerOptions } from "./memory-plan.ts";

/** Experts of the sparse layers, in order. */
export const sparseLayers = <W>({ layers }: ModelWeights<W>): ExpertWeights<W>[] =>
  layers.flatMap(({ feedForward }) => (feedForward.kind === "moe" ? [feedForward.experts] : []));

/** Of the experts of a model, where it has some. */
export function expertShape<W extends Weight>(weights: ModelWeights<W>): ExpertShape | undefined {
  const layers = sparseLayers(weights);
  if (layers.length === 0) return undefined;
  const [{ experts, topK, gateUp }] = layers;
  return { layers: layers.length, experts, topK, hidden: gateUp.columns };
}

/** Where experts come and go, if the device is to hold fewer of them than there are; without a device only sizes. */
export function expertArena(
  sources: ModelWeights<WeightSource>,
  options: RunnerOptions,
  device?: Device,
): ExpertArena | undefined {
  const layers = sparseLayers(sources);
  const slots = options.expertSlots ?? Number.POSITIVE_INFINITY;
  if (layers.length === 0 || slots >= layers[0].experts) return undefined;
  const { maxSequences = 1, maxBatchTokens } = options;
  return new ExpertArena(
    {
      layers,
      quantization: options.quantization,
      slots,
      isShared: options.sharesExperts,
      maxSequences,
      maxTokens: Math.max(maxBatchTokens, maxSequences),
    },
    device,
  );
}

/** The weights of experts, which are not loaded where they are paged. */
export const pagedSources = (sources: ModelWeights<WeightSource>): Set<WeightSource> =>
  new Set(sparseLayers(sources).flatMap(({ gateUp, down }) => [gateUp, down]));

/** The same model with the experts of the arena. Each layer also has the next one's router, to look ahead with. */
export function withArena(weights: ModelWeights<GpuWeight>, arena: ExpertArena | undefined): ModelWeights<GpuWeight> {
  if (!arena) return weights;
  const routers = weights.layers.flatMap(({ feedForward }) => (feedForward.kind === "moe" ? [feedForward.router] : []));
  let sparse = 0;
  const layers = weights.layers.map((layer) => {
    if (layer.feedForward.kind === "dense") return layer;
    const experts = arena.experts(sparse, routers[sparse + 1]);
    sparse++;
    return { ...layer, feedForward: { ...layer.feedForward, experts } };
  });
  return { ...weights, layers };
}
