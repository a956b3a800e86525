import type { MemoryPlan, Quantization } from "../api/types.ts";
import { type RunnerLimits, scoreTokens } from "../engine/runner.ts";
import type { Allocator } from "../gpu/device.ts";
import type { DeviceProfile } from "../gpu/profile.ts";
import type { GpuBuffer } from "../gpu/resources.ts";
import { planScratch } from "../gpu/scratch.ts";
import type { ModelConfig } from "../models/qwen3-next/config.ts";
import { ropeFrequencies } from "../models/qwen3-next/rope.ts";
import { convertWeights, type ModelWeights, weightLeaves } from "../models/qwen3-next/weights.ts";
import type { WeightSource } from "../weights/format.ts";
import { planWeight, weightBuffers, weightBytes } from "../weights/load.ts";
import { BatchBuffer, type BatchLimits, batchLayout } from "./batch-buffer.ts";
import { type GpuLayerState, layerStates, type SnapshotState } from "./layer-states.ts";
import { expertArena, pagedSources, withArena } from "./paged-experts.ts";
import { recordStep, type StepSize } from "./record-step.ts";
import { RopeTable } from "./rope-table.ts";
import { Sampler } from "./sampler.ts";

export interface RunnerOptions {
  readonly config: ModelConfig;
  readonly quantization: Quantization;
  readonly kvFormat: "f32" | "f16";
  /** Tokens of prompt and reply together. */
  readonly maxContext: number;
  /** Tokens of one prefill step; scratch grows with it. */
  readonly maxBatchTokens: number;
  /** Recurrent states to keep besides the live ones. */
  readonly snapshots: number;
  /** Sequences under way at once. Default 1. */
  readonly maxSequences?: number;
  /** Tokens that the KV cache holds in all. Default: one context. */
  readonly cacheTokens?: number;
  /** Experts of each sparse layer that the device holds at a time. Default: all. */
  readonly expertSlots?: number;
  /** The others are not brought here: a companion computes with them. */
  readonly sharesExperts?: boolean;
  /** Token ids that exist; rows of the embedding beyond are padding. */
  readonly usableVocabulary: number;
  /** Other layers come after these, somewhere else: steps give what the last of these leaves, and draw nothing. */
  readonly isInner?: boolean;
}

/** What a runner owns besides weights; without a device only sizes, for planning. */
export interface RunnerParts {
  readonly limits: RunnerLimits;
  readonly isInner: boolean;
  readonly states: readonly GpuLayerState[];
  readonly batch: BatchBuffer;
  readonly rope: RopeTable;
  readonly sampler: Sampler;
  /** One KV block of every layer on its way from one place to another: a copy within a buffer is not allowed. */
  readonly spareBlock: GpuBuffer;
}

/** Tokens in a KV block. */
const BLOCK_TOKENS = 64;

/** Sequences whose prompts one prefill step reads, at most. */
const PREFILL_SEQUENCES = 8;

export function runnerParts(options: RunnerOptions, device?: Allocator): RunnerParts {
  const { config, maxContext, maxBatchTokens, isInner = false } = options;
  const limits = runnerLimits(options);
  const { maxSequences } = limits;
  const batchLimits: BatchLimits = {
    maxTokens: Math.max(maxBatchTokens, maxSequences),
    maxSequences,
    maxBlocks: Math.ceil(maxContext / BLOCK_TOKENS),
    blockTokens: BLOCK_TOKENS,
  };
  const rope = ropeFrequencies(config.rope);
  const ropeBytes = maxContext * config.rope.rotaryDim * 4;
  const states = layerStates(config, options.kvFormat, limits, device);
  const blockBytes = states.reduce((sum, s) => sum + (s.kind === "kv" ? s.keys.sizeBytes + s.values.sizeBytes : 0), 0);
  const spareBytes = blockBytes / limits.blocks;
  const spare = { kind: "buffer", label: "spare block", sizeBytes: spareBytes } as const;
  return {
    limits,
    isInner,
    states,
    spareBlock: { ...spare, gpu: spareBytes > 0 ? device?.buffer(spare.label, spareBytes) : undefined },
    batch: new BatchBuffer(batchLimits, device?.buffer("batch", batchLayout(batchLimits).words * 4)),
    rope: new RopeTable(rope, maxContext, device?.buffer("rope", ropeBytes)),
    sampler: new Sampler({
      // An inner stage draws nothing.
      vocabulary: isInner ? 1 : config.vocabularySize,
      usable: isInner ? 1 : options.usableVocabulary,
      maxSequences,
      device,
    }),
  };
}

export function runnerLimits(options: Omit<RunnerOptions, "kvFormat">): RunnerLimits {
  const { config, maxContext, maxBatchTokens, maxSequences = 1, cacheTokens = maxContext } = options;
  return {
    maxContext,
    maxBatchTokens,
    maxSequences,
    maxPrefillSequences: Math.min(maxSequences, PREFILL_SEQUENCES, maxBatchTokens),
    slots: maxSequences + options.snapshots,
    blockTokens: BLOCK_TOKENS,
    // One more than a whole context, to copy the end of a shared prefix into.
    blocks: Math.ceil(Math.max(maxContext, cacheTokens) / BLOCK_TOKENS) + 1,
    vocabularySize: config.vocabularySize,
  };
}

/** Sizes of the plans that read prompts; a step takes the smallest that holds it. */
export function prefillSizes({ maxBatchTokens, maxPrefillSequences }: RunnerLimits): StepSize[] {
  const rows = [...[64, 512].filter((rows) => rows < maxBatchTokens), maxBatchTokens];
  const sequences = [...new Set([1, maxPrefillSequences])];
  return sequences.flatMap((sequences) => rows.map((rows) => ({ rows, sequences })));
}

/** Sizes of the plans that give all rows' logits, which may take more memory than anything else does. */
export function scoreSizes(limits: RunnerLimits): StepSize[] {
  const sizes = [{ rows: scoreTokens(limits), sequences: 1 }, ...prefillSizes({ ...limits, maxPrefillSequences: 1 })];
  return sizes.sort((a, b) => a.rows - b.rows);
}

/** Sizes of the plans that decode: powers of two. */
export function decodeSizes({ maxSequences }: RunnerLimits): StepSize[] {
  const sizes: StepSize[] = [];
  for (let rows = 1; rows < 2 * maxSequences; rows *= 2) {
    const sequences = Math.min(rows, maxSequences);
    sizes.push({ rows: sequences, sequences });
  }
  return sizes;
}

/** Device memory that a runner will take, computed without a device: plans are recorded and their scratch laid out. */
export const memoryPlan = (
  sources: ModelWeights<WeightSource>,
  profile: DeviceProfile,
  options: RunnerOptions,
): MemoryPlan => planMemory(sources, profile, options).memory;

/** The same, with the single buffers, for a device that limits their size. */
export function planMemory(
  sources: ModelWeights<WeightSource>,
  profile: DeviceProfile,
  options: RunnerOptions,
): { readonly memory: MemoryPlan; readonly buffers: readonly { label: string; sizeBytes: number }[] } {
  const arena = expertArena(sources, options);
  const paged = arena ? pagedSources(sources) : new Set();
  const plan = (source: WeightSource) => planWeight(source, options.quantization);
  const planned = withArena(convertWeights(sources, plan), arena);
  // A shared leaf is planned once for each place, and counted once.
  const unique = weightLeaves(sources)
    .filter((source) => !paged.has(source))
    .map(plan);
  const parts = runnerParts(options);
  const scratchOf = (kind: "sample" | "decode", size: StepSize) => {
    const { scratches, stops } = recordStep(kind, size, planned, parts, profile).recorder;
    return planScratch(scratches, stops).sizes;
  };
  const scratches = [
    ...prefillSizes(parts.limits).map((size) => scratchOf("sample", size)),
    ...decodeSizes(parts.limits).map((size) => scratchOf("decode", size)),
  ];
  const buffers = [
    ...unique.flatMap(weightBuffers),
    ...(arena?.buffers ?? []),
    ...parts.states.flatMap((s) =>
      s.kind === "kv" ? [s.keys, s.values] : [s.conv, s.delta, s.snapshots.conv, s.snapshots.delta],
    ),
    ...scratches.flat().map((sizeBytes) => ({ label: "scratch", sizeBytes })),
    parts.rope,
    parts.sampler.counts,
    parts.sampler.bias,
  ];
  const own = partBytes(parts);
  const bytes = {
    ...own,
    weights: unique.reduce((sum, w) => sum + weightBytes(w), arena?.slotBytes ?? 0),
    scratch: Math.max(...scratches.map((sizes) => sizes.reduce((a, b) => a + b, 0))),
    other: own.other + (arena?.otherBytes ?? 0),
  };
  return { memory: { ...bytes, total: Object.values(bytes).reduce((a, b) => a + b, 0) }, buffers };
}

/** Bytes of what a runner owns besides weights and scratch. */
export function partBytes({ states, rope, sampler, batch, spareBlock }: RunnerParts) {
  const recurrent = (of: (state: SnapshotState) => Pick<SnapshotState, "conv" | "delta">) =>
    states.reduce((sum, s) => sum + (s.kind === "kv" ? 0 : of(s).conv.sizeBytes + of(s).delta.sizeBytes), 0);
  return {
    kvCache: states.reduce((sum, s) => sum + (s.kind === "kv" ? s.keys.sizeBytes + s.values.sizeBytes : 0), 0),
    recurrentState: recurrent((state) => state),
    snapshots: recurrent((state) => state.snapshots),
    other: rope.sizeBytes + sampler.sizeBytes + batch.sizeBytes + spareBlock.sizeBytes,
  };
}
