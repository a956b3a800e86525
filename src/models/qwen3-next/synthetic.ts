import { invariant } from "../../errors.ts";
import type { Checkpoint, CheckpointTensor } from "../../weights/checkpoint.ts";
import { dataBytes, type WeightSource } from "../../weights/format.ts";
import { bindWeights } from "./bind-weights.ts";
import { type ModelConfig, parseConfig } from "./config.ts";
import { tensorShapes } from "./tensor-shapes.ts";
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
  const tensors = new Map<string, CheckpointTensor>();
  for (const [name, shape] of tensorShapes(config, { projections: "split", experts: "stacked" })) {
    const sizeBytes = dataBytes(
      "bf16",
      shape.reduce((a, b) => a * b, 1),
    );
    const read = async () => invariant(false, `${name} has no weights`) as never;
    tensors.set(name, { name, shape, format: "bf16", sizeBytes, read });
  }
  const sizeBytes = [...tensors.values()].reduce((sum, tensor) => sum + tensor.sizeBytes, 0);
  const checkpoint = {
    label,
    config: json,
    generationConfig: {},
    tensors,
    sizeBytes,
    close: async () => {},
  };
  return { checkpoint, config, sources: bindWeights(config, checkpoint) };
}
