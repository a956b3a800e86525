import type { RunnerLimits } from "../engine/runner.ts";
import type { Allocator } from "../gpu/device.ts";
import type { ModelConfig } from "../models/qwen3-next/config.ts";
import { CONV_RING, type GpuKVCache, type GpuRecurrentState } from "../ops/gpu/state.ts";

export type GpuLayerState = GpuKVCache | SnapshotState;

/**
 * A recurrent state whose slots beyond the live ones are in buffers of their own: a copy within a buffer is not allowed,
 * and kernels should not be kept waiting by copies of what they do not use.
 */
export interface SnapshotState extends GpuRecurrentState {
  readonly snapshots: Pick<GpuRecurrentState, "conv" | "delta">;
}

/** Bytes of what a layer keeps: of one KV block (keys and values), or of one slot. */
export interface StateBytes {
  readonly keys: number;
  readonly conv: number;
  readonly delta: number;
}

export function stateBytes(config: ModelConfig, kvFormat: "f32" | "f16", blockTokens: number): StateBytes {
  const { attention, delta } = config;
  const channels = 2 * delta.keyHeads * delta.keyDim + delta.valueHeads * delta.valueDim;
  return {
    keys: blockTokens * attention.keyValueHeads * attention.headDim * (kvFormat === "f16" ? 2 : 4),
    conv: CONV_RING * channels * 4,
    delta: delta.valueHeads * delta.valueDim * delta.keyDim * 4,
  };
}

/** The state of every layer; without a device only its sizes. */
export function layerStates(
  config: ModelConfig,
  kvFormat: "f32" | "f16",
  limits: RunnerLimits,
  device?: Allocator,
): GpuLayerState[] {
  const bytes = stateBytes(config, kvFormat, limits.blockTokens);
  const buffer = (label: string, sizeBytes: number) =>
    ({ kind: "buffer", label, sizeBytes, gpu: device?.buffer(label, sizeBytes) }) as const;
  return config.layers.map(({ mixer }, i): GpuLayerState => {
    if (mixer === "attention") {
      return {
        kind: "kv",
        format: kvFormat,
        keys: buffer(`layer ${i} keys`, limits.blocks * bytes.keys),
        values: buffer(`layer ${i} values`, limits.blocks * bytes.keys),
      };
    }
    const slots = (what: string, count: number) => ({
      conv: buffer(`layer ${i} conv${what}`, count * bytes.conv),
      delta: buffer(`layer ${i} delta${what}`, count * bytes.delta),
    });
    return {
      kind: "recurrent",
      ...slots("", limits.maxSequences),
      snapshots: slots(" snapshots", limits.slots - limits.maxSequences),
    };
  });
}
