import { bindWeights } from "../models/qwen3-next/bind-weights.ts";
import { type ModelConfig, parseConfig } from "../models/qwen3-next/config.ts";
import { overrideConfig } from "../models/qwen3-next/override-config.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { WeightSource } from "../weights/format.ts";
import type { loadWeight } from "../weights/load.ts";
import { openCheckpoint } from "../weights/open-checkpoint.ts";
import type { Platform } from "./platform.ts";
import type { LoadOptions, ModelSource, StoreReport } from "./types.ts";

export interface OpenedModel {
  /** The caller's to close. */
  readonly checkpoint: Checkpoint;
  readonly config: ModelConfig;
  readonly sources: ModelWeights<WeightSource>;
  /** How a weight gets to the device, where it is not read. */
  readonly loadWeight?: typeof loadWeight;
}

export interface OpenOptions
  extends Pick<
    LoadOptions,
    "store" | "hubToken" | "configOverrides" | "loadFormat" | "tokenizer" | "quantization" | "signal"
  > {
  readonly onReport?: (report: StoreReport) => void;
}

/** Reads what a model is: its config, its tokenizer, and where its weights lie, or how they are made up. */
export async function openModel(platform: Platform, source: ModelSource, options: OpenOptions): Promise<OpenedModel> {
  // A page that never asks for it does not download it.
  if (options.loadFormat === "dummy") return (await import("./open-dummy.ts")).openDummy(platform, source, options);
  const { store, hubToken, onReport, signal, configOverrides = {} } = options;
  const checkpoint = await openCheckpoint(await platform.openFiles(source, { store, hubToken, onReport }), signal);
  try {
    const config = parseConfig(overrideConfig(checkpoint.config, configOverrides));
    return { checkpoint, config, sources: bindWeights(config, checkpoint) };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}
