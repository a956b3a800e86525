import type { Checkpoint } from "../../weights/checkpoint.ts";
import type { WeightSource } from "../../weights/format.ts";
import { bindWeights } from "./bind-weights.ts";
import { type ModelConfig, parseConfig } from "./config.ts";
import { shapeCheckpoint } from "./shape-checkpoint.ts";
import type { ModelWeights } from "./weights.ts";

/** A model of a config.json without its weights, which cannot be read: to plan its memory, or to make weights up. */
export function syntheticModel(
  json: Readonly<Record<string, unknown>>,
  label = "synthetic",
): {
  checkpoint: Checkpoint;
  config: ModelConfig;
  sources: ModelWeights<WeightSource>;
} {
  const config = parseConfig(json);
  const checkpoint = shapeCheckpoint(config, json, label);
  return { checkpoint, config, sources: bindWeights(config, checkpoint) };
}
