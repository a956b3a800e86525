import type { Quantization } from "../../api/types.ts";
import type { WeightSource } from "../../weights/format.ts";
import type { PackItem } from "../../weights/packed/plan-pack.ts";
import { deviceFormat } from "../../weights/plan-format.ts";
import { weightNames } from "./bind-canonical.ts";
import { type ModelWeights, weightLeaves } from "./weights.ts";

/** What of a model is packed, and as what: `quantization` for all, or `experts` for theirs. */
export function packItems(
  weights: ModelWeights<WeightSource>,
  { quantization, experts = quantization }: { quantization: Quantization; experts?: Quantization },
): PackItem[] {
  const names = weightNames(weights);
  const counts = new Map<WeightSource, number>();
  for (const { feedForward } of weights.layers) {
    if (feedForward.kind === "dense") continue;
    const { gateUp, down, experts: count } = feedForward.experts;
    counts.set(gateUp, count).set(down, count);
  }
  return weightLeaves(weights).map((source) => {
    const count = counts.get(source);
    const format = deviceFormat(source, count === undefined ? quantization : experts);
    return { name: names.get(source)!, source, format, ...(count !== undefined && { experts: count }) };
  });
}
