import { Device } from "../gpu/device.ts";
import { bindWeights } from "../models/qwen3-next/bind-weights.ts";
import { parseConfig } from "../models/qwen3-next/config.ts";
import { countParameters } from "../models/qwen3-next/weights.ts";
import { pagingPlan, slotsWithin } from "../runner/expert-budget.ts";
import { memoryPlan } from "../runner/memory-plan.ts";
import { sparseLayers } from "../runner/paged-experts.ts";
import { openCheckpoint } from "../weights/open-checkpoint.ts";
import { onDevice, runnerOptions } from "./load-model.ts";
import type { Platform } from "./platform.ts";
import type { ModelPlan, ModelSource, PlanOptions } from "./types.ts";

/** What loading a model would take and give; reads headers only. */
export async function planModel(platform: Platform, source: ModelSource, options: PlanOptions): Promise<ModelPlan> {
  const { store = "none", hubToken } = options;
  const checkpoint = await openCheckpoint(await platform.openFiles(source, { store, hubToken }), options.signal);
  try {
    const config = parseConfig(checkpoint.config);
    const sources = bindWeights(config, checkpoint);
    const { dtype = "auto", precise } = options.device ?? {};
    const opened = await platform.openGpu(options.device ?? {});
    const device = await Device.open({ ...opened, withoutF16: dtype === "f32", precise });
    const { profile } = device;
    device.dispose();
    const standard = onDevice(runnerOptions(config, options), profile, { dtype });
    const planned = { ...standard, expertSlots: slotsWithin(options.memory, sources, profile, standard) };
    const [sparse, ...others] = sparseLayers(sources);
    return {
      modelType: config.modelType,
      parameters: countParameters(sources).total,
      sizeBytes: checkpoint.sizeBytes,
      experts: sparse && { layers: 1 + others.length, perLayer: sparse.experts, perToken: sparse.topK },
      memory: memoryPlan(sources, profile, planned),
      paging: pagingPlan(sources, planned, options.speeds),
    };
  } finally {
    await checkpoint.close();
  }
}
