import { type ModelWeights, weightLeaves } from "../models/qwen3-next/weights.ts";
import { dataBytes, scaleBytes, type WeightSource } from "../weights/format.ts";

/** Bytes of the tensors that are read while the model is loaded, but for `later`. */
export const storedBytes = (
  sources: ModelWeights<WeightSource>,
  later: ReadonlySet<WeightSource> = new Set(),
): number =>
  weightLeaves(sources)
    .filter((source) => !later.has(source))
    .reduce(
      (sum, { format, rows, columns }) => sum + dataBytes(format, rows * columns) + scaleBytes(format, rows * columns),
      0,
    );
