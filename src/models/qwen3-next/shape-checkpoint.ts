import { invariant } from "../../errors.ts";
import type { Checkpoint, CheckpointTensor } from "../../weights/checkpoint.ts";
import { dataBytes } from "../../weights/format.ts";
import type { ModelConfig } from "./config.ts";
import { tensorShapes } from "./tensor-shapes.ts";

/** A checkpoint that has the tensors of a configuration, and nothing in them. */
export function shapeCheckpoint(
  config: ModelConfig,
  json: Readonly<Record<string, unknown>>,
  label: string,
): Checkpoint {
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
  return { label, config: json, generationConfig: {}, tensors, sizeBytes, close: async () => {} };
}
