import { CheckpointError } from "../../errors.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import type { WeightSource } from "../../weights/format.ts";
import { convertWeights, type ModelWeights } from "./weights.ts";

/**
 * The weights of a checkpoint that stores them in canonical form, under their places in `ModelWeights`. `shapes` is a
 * model of the same configuration. Fails with `CheckpointError` where a tensor is missing or of another shape.
 */
export function bindCanonical(
  shapes: ModelWeights<WeightSource>,
  { label, tensors }: Checkpoint,
): ModelWeights<WeightSource> {
  const sources = new Map<WeightSource, WeightSource>();
  for (const [leaf, name] of weightNames(shapes)) {
    const tensor = tensors.get(name);
    if (!tensor && leaf === shapes.head) {
      sources.set(leaf, sources.get(shapes.embedding)!);
      continue;
    }
    const expected = `[${leaf.rows}, ${leaf.columns}]`;
    if (!tensor) throw new CheckpointError(label, `${name} ${expected} is missing. Pack the model anew.`);
    const { shape, format, partRows, turnBytes } = tensor;
    if (shape.join() !== `${leaf.rows},${leaf.columns}`) {
      throw new CheckpointError(label, `${name} is [${shape.join(", ")}], but by its config it has to be ${expected}.`);
    }
    const { rows, columns, role } = leaf;
    const read: WeightSource["read"] = (from, to, signal) => tensor.read(from, to, signal);
    sources.set(leaf, { label: name, rows, columns, format, role, partRows, turnBytes, read });
  }
  return convertWeights(shapes, (leaf) => sources.get(leaf)!);
}

/** Every weight by its place in `ModelWeights`, such as `layers.0.mixer.inProj`; one that has two places by the first. */
export function weightNames(weights: ModelWeights<WeightSource>): Map<WeightSource, string> {
  const names = new Map<WeightSource, string>();
  const visit = (node: unknown, place: string): void => {
    if (typeof node !== "object" || node === null) return;
    if (isSource(node)) {
      if (!names.has(node)) names.set(node, place);
      return;
    }
    for (const [key, child] of Object.entries(node)) visit(child, place ? `${place}.${key}` : key);
  };
  visit(weights, "");
  return names;
}

const isSource = (node: object): node is WeightSource => "role" in node && "read" in node;
