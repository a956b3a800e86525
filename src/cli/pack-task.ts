import type { Quantization } from "../api/types.ts";
import { packItems } from "../models/qwen3-next/pack-items.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { PackItem } from "../weights/packed/plan-pack.ts";
import { madeUp, type OpenedModel, openShape, withModel } from "./open-runner.ts";

/** What is packed, as a thread can be told. */
export interface PackTask {
  readonly source: string;
  readonly quant: Quantization;
  readonly experts?: Quantization;
  readonly synthetic?: boolean;
}

interface OpenedTask {
  readonly checkpoint: Checkpoint;
  readonly items: readonly PackItem[];
}

/** Calls `use` with what is to be packed, which can be read until that returns. */
export async function openToPack<T>(task: PackTask, use: (opened: OpenedTask) => Promise<T>): Promise<T> {
  const { source, quant, experts, synthetic } = task;
  const opened = ({ checkpoint, sources }: OpenedModel) =>
    use({ checkpoint, items: packItems(sources, { quantization: quant, experts }) });
  return synthetic ? opened(madeUp(await openShape(source), quant)) : withModel(source, opened);
}
