import type { MemoryPlan, Quantization } from "../api/types.ts";
import type { RunnerLimits } from "../engine/runner.ts";
import type { Device } from "../gpu/device.ts";
import type { DeviceProfile } from "../gpu/profile.ts";
import { planScratch } from "../gpu/scratch.ts";
import type { ModelConfig } from "../models/qwen3-next/config.ts";
import { ropeFrequencies } from "../models/qwen3-next/rope.ts";
import { convertWeights, type ModelWeights, weightLeaves } from "../models/qwen3-next/weights.ts";
import type { WeightSource } from "../weights/format.ts";
import { planWeight, weightBuffers, weightBytes } from "../weights/load.ts";
import { BatchBuffer, type BatchLimits, batchLayout } from "./batch-buffer.ts";
import { type GpuLayerState, layerStates, type SnapshotState } from "./layer-states.ts";
import { recordStep } from "./record-step.ts";
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
  /** Recurrent states to keep besides the live one. */
  readonly snapshots: number;
  /** Token ids that exist; rows of the embedding beyond are padding. */
  readonly usableVocabulary: number;
}

/** What a runner owns besides weights; without a device only sizes, for planning. */
export interface RunnerParts {
  readonly limits: RunnerLimits;
  readonly states: readonly GpuLayerState[];
  readonly batch: BatchBuffer;
  readonly rope: RopeTable;
  readonly sampler: Sampler;
}

/** Tokens in a KV block. */
const BLOCK_TOKENS = 64;

export function runnerParts(options: RunnerOptions, device?: Device): RunnerParts {
  const { config, maxContext, maxBatchTokens } = options;
  const blocks = Math.ceil(maxContext / BLOCK_TOKENS);
  const limits: RunnerLimits = {
    maxContext,
    maxBatchTokens,
    slots: 1 + options.snapshots,
    blockTokens: BLOCK_TOKENS,
    blocks,
    vocabularySize: config.vocabularySize,
  };
  const batchLimits: BatchLimits = {
    maxTokens: maxBatchTokens,
    maxSequences: 1,
    maxBlocks: blocks,
    blockTokens: BLOCK_TOKENS,
  };
  const rope = ropeFrequencies(config.rope);
  const ropeBytes = maxContext * config.rope.rotaryDim * 4;
  return {
    limits,
    states: layerStates(config, options.kvFormat, limits, device),
    batch: new BatchBuffer(batchLimits, device?.buffer("batch", batchLayout(batchLimits).words * 4)),
    rope: new RopeTable(rope, maxContext, device?.buffer("rope", ropeBytes)),
    sampler: new Sampler({
      vocabulary: config.vocabularySize,
      usable: options.usableVocabulary,
      maxSequences: 1,
      device,
    }),
  };
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
  const planned = convertWeights(sources, (source) => planWeight(source, options.quantization));
  // A shared leaf is planned once for each place, and counted once.
  const unique = weightLeaves(sources).map((source) => planWeight(source, options.quantization));
  const parts = runnerParts(options);
  const recurrentBytes = (of: (state: SnapshotState) => Pick<SnapshotState, "conv" | "delta">) =>
    parts.states.reduce((sum, s) => sum + (s.kind === "kv" ? 0 : of(s).conv.sizeBytes + of(s).delta.sizeBytes), 0);
  const scratchOf = (kind: "sample" | "decode", rows: number) =>
    planScratch(recordStep(kind, rows, planned, parts, profile).recorder.scratches).sizes;
  const scratches = [scratchOf("sample", options.maxBatchTokens), scratchOf("decode", 1)];
  const buffers = [
    ...unique.flatMap(weightBuffers),
    ...parts.states.flatMap((s) =>
      s.kind === "kv" ? [s.keys, s.values] : [s.conv, s.delta, s.snapshots.conv, s.snapshots.delta],
    ),
    ...scratches.flat().map((sizeBytes) => ({ label: "scratch", sizeBytes })),
    parts.rope,
  ];
  const bytes = {
    weights: unique.reduce((sum, w) => sum + weightBytes(w), 0),
    kvCache: parts.states.reduce((sum, s) => sum + (s.kind === "kv" ? s.keys.sizeBytes + s.values.sizeBytes : 0), 0),
    recurrentState: recurrentBytes((state) => state),
    snapshots: recurrentBytes((state) => state.snapshots),
    scratch: Math.max(...scratches.map((sizes) => sizes.reduce((a, b) => a + b, 0))),
    other: parts.rope.sizeBytes + parts.sampler.sizeBytes + parts.batch.sizeBytes,
  };
  return { memory: { ...bytes, total: Object.values(bytes).reduce((a, b) => a + b, 0) }, buffers };
}
