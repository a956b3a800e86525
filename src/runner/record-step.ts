import type { DeviceProfile } from "../gpu/profile.ts";
import { Recorder } from "../gpu/recorder.ts";
import type { GpuTensor, GpuWeight } from "../gpu/resources.ts";
import { forward, logits, residual } from "../models/qwen3-next/model.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import { DecodeOps } from "../ops/gpu/decode/decode-ops.ts";
import { batchedKernels, fetchBatched } from "../ops/gpu/decode/fetch-batched.ts";
import { canFuse, MAX_BATCHED_ROWS, oneRowKernels } from "../ops/gpu/decode/fused.ts";
import { GpuOps } from "../ops/gpu/gpu-ops.ts";
import { batchConstants } from "./batch-buffer.ts";
import type { RunnerParts } from "./memory-plan.ts";

/**
 * `prefill` only moves the state on; `sample` also draws tokens after the last rows of sequences; `decode` does so for one row a
 * sequence; `score` gives all rows' logits; `trace` also keeps what passes between layers; `routing` is a prefill that keeps the chosen experts.
 */
export type StepKind = "prefill" | "sample" | "decode" | "score" | "trace" | "routing";

export interface RecordedStep {
  readonly recorder: Recorder;
  readonly logits: GpuTensor | undefined;
  /** The first dispatch of drawing tokens. */
  readonly drawsFrom: number;
  readonly hidden: readonly GpuTensor[];
  readonly experts: readonly GpuTensor[];
}

export interface StepSize {
  /** Tokens at most. */
  readonly rows: number;
  /** Sequences at most. */
  readonly sequences: number;
}

/** Fetches kernels that not every page needs, for memory plans and steps of so many sequences: recording waits for nothing. */
export const fetchKernels = (
  profile: DeviceProfile,
  { maxSequences }: { readonly maxSequences?: number },
): Promise<void> => fetchBatched(profile, maxSequences);

/** The model function, run once against a recorder. */
export function recordStep(
  kind: StepKind,
  { rows, sequences }: StepSize,
  weights: ModelWeights<GpuWeight>,
  parts: RunnerParts,
  profile: DeviceProfile,
): RecordedStep {
  const { states, batch: batchBuffer, rope, sampler } = parts;
  const recorder = new Recorder(profile, batchConstants(batchBuffer.limits));
  const context = { recorder, batchBuffer, rope };
  const isFused = kind === "decode" && rows <= MAX_BATCHED_ROWS && profile.fuseDecode && canFuse(profile);
  const kernels = () => (rows === 1 ? oneRowKernels() : batchedKernels());
  const ops = isFused ? new DecodeOps(context, kernels()) : new GpuOps(context);
  const batch = {
    maxTokens: rows,
    maxSequences: sequences,
    kind: kind === "decode" ? "decode" : "prefill",
  } as const;

  if (parts.isInner) {
    const x = recorder.retain(ops.tensor(residual(ops, weights, states, batch)));
    const drawsFrom = recorder.dispatches.length;
    return { recorder, logits: undefined, drawsFrom, hidden: [x], experts: [] };
  }

  const hidden: GpuTensor[] = [];
  const experts: GpuTensor[] = [];
  const trace = {
    hidden: kind === "trace" ? (_: number, x: GpuTensor) => hidden.push(recorder.retain(x)) : undefined,
    experts: (_: number, ids: GpuTensor) => experts.push(recorder.retain(ids)),
  };
  const x = forward(ops, weights, states, batch, kind === "trace" || kind === "routing" ? trace : {}) as GpuTensor;
  // What the last layer left is of no interest beside its norm.
  if (kind === "trace") hidden[hidden.length - 1] = recorder.retain(x);
  if (kind === "prefill" || kind === "routing") {
    return { recorder, logits: undefined, drawsFrom: recorder.dispatches.length, hidden, experts };
  }

  const sampled = kind === "sample" ? ops.lastRows(x, batch) : x;
  const scores = recorder.retain(ops.tensor(logits(ops, weights, sampled)));
  const drawsFrom = recorder.dispatches.length;
  if (kind === "sample" || kind === "decode") sampler.record(context, scores);
  return { recorder, logits: scores, drawsFrom, hidden, experts };
}
