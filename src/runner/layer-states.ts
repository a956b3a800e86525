import type { RunnerLimits } from "../engine/runner.ts";
import type { Device } from "../gpu/device.ts";
import type { ModelConfig } from "../models/qwen3-next/config.ts";
import { CONV_RING, type GpuKVCache, type GpuRecurrentState } from "../ops/gpu/state.ts";

export type GpuLayerState = GpuKVCache | GpuRecurrentState;

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
  device?: Device,
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
    return {
      kind: "recurrent",
      conv: buffer(`layer ${i} conv`, limits.slots * bytes.conv),
      delta: buffer(`layer ${i} delta`, limits.slots * bytes.delta),
    };
  });
}
