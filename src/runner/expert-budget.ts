import type { PagingPlan } from "../api/types.ts";
import { InvalidRequestError, OutOfMemoryError } from "../errors.ts";
import { megabytes } from "../gpu/device.ts";
import type { DeviceProfile } from "../gpu/profile.ts";
import type { ModelWeights } from "../models/qwen3-next/weights.ts";
import { expectedHitRate, HIT_RATE_SOURCE } from "../paging/hit-rates.ts";
import type { WeightSource } from "../weights/format.ts";
import { memoryPlan, type RunnerOptions } from "./memory-plan.ts";
import { expertArena, sparseLayers } from "./paged-experts.ts";

/** Device memory: bytes for everything, or the share of each layer's experts that are to be there. */
export type MemoryBudget = { readonly bytes: number } | { readonly share: number };

/** "4GB", "900 MB", a number of bytes, or a share of the experts such as "25%". */
export function parseBudget(memory: string | number): MemoryBudget {
  if (typeof memory === "number" && memory > 0 && Number.isFinite(memory)) return { bytes: memory };
  const match = /^\s*(\d+(?:\.\d+)?)\s*(%|[KMGT]i?B|B)?\s*$/i.exec(String(memory));
  const [amount, unit = "B"] = match ? [Number(match[1]), match[2]?.toUpperCase()] : [0];
  if (!(amount > 0) || (unit === "%" && amount > 100)) {
    throw new InvalidRequestError("memory", `${memory} is neither an amount such as "4GB" nor a share such as "25%".`);
  }
  if (unit === "%") return { share: amount / 100 };
  const base = unit.length === 3 ? 1024 : 1000;
  return { bytes: amount * base ** " KMGT".indexOf(unit.length === 1 ? " " : unit[0]) };
}

/** How many experts of a layer fit into a budget, which none of them has to leave; undefined if all do. */
export function slotsWithin(
  memory: string | number | undefined,
  sources: ModelWeights<WeightSource>,
  profile: DeviceProfile,
  options: RunnerOptions,
): number | undefined {
  if (memory === undefined) return undefined;
  const budget = parseBudget(memory);
  const [layer] = sparseLayers(sources);
  if (!layer) return undefined;
  const { experts, topK } = layer;
  // What a companion has need not be here at any time.
  const fewest = options.sharesExperts ? 0 : topK;
  if ("share" in budget) {
    const slots = Math.max(fewest, Math.round(budget.share * experts));
    return slots < experts ? slots : undefined;
  }
  const total = (expertSlots?: number) => memoryPlan(sources, profile, { ...options, expertSlots }).total;
  if (total() <= budget.bytes) return undefined;
  const least = total(fewest);
  if (topK >= experts || least > budget.bytes) {
    throw new OutOfMemoryError(
      least,
      `${megabytes(budget.bytes)} are too little: with ${fewest} experts a layer, ${fewest > 0 ? "which every token needs, " : ""}the model takes ` +
        `${megabytes(least)}. Allow more memory, or try quantization "q4" or a smaller maxContext.`,
    );
  }
  const slotBytes = expertArena(sources, { ...options, expertSlots: topK })!.slotBytes / topK;
  let slots = Math.min(experts - 1, fewest + Math.floor((budget.bytes - least) / slotBytes));
  // Scratch grows a little with the slots.
  while (slots > fewest && total(slots) > budget.bytes) slots--;
  return slots;
}

export interface Speeds {
  /** Of the store that experts are read from. */
  readonly bytesPerSecond?: number;
  /** Of the model with all experts on the device. */
  readonly tokensPerSecond?: number;
}

/** What is to be expected of `expertSlots` slots a layer; undefined where all experts are there. */
export function pagingPlan(
  sources: ModelWeights<WeightSource>,
  options: RunnerOptions,
  { bytesPerSecond, tokensPerSecond }: Speeds = {},
): PagingPlan | undefined {
  const arena = expertArena(sources, options);
  if (!arena) return undefined;
  const layers = sparseLayers(sources);
  const { experts, topK } = layers[0];
  const slots = options.expertSlots!;
  const hitRate = expectedHitRate(slots / experts);
  const bytesPerToken = layers.reduce((sum, _, layer) => sum + topK * (1 - hitRate) * arena.bytesIn(layer), 0);
  const seconds = bytesPerSecond && bytesPerToken / bytesPerSecond + (tokensPerSecond ? 1 / tokensPerSecond : 0);
  return {
    experts,
    slots,
    expertBytes: arena.expertBytes,
    hitRate,
    hitRateSource: HIT_RATE_SOURCE,
    bytesPerToken: Math.round(bytesPerToken),
    ...(seconds && { tokensPerSecond: 1 / seconds }),
  };
}
