import { Device } from "../gpu/device.ts";
import { countParameters } from "../models/qwen3-next/weights.ts";
import { pagingPlan, slotsWithin } from "../runner/expert-budget.ts";
import { memoryPlan } from "../runner/memory-plan.ts";
import { sparseLayers } from "../runner/paged-experts.ts";
import { fetchKernels } from "../runner/record-step.ts";
import { onDevice, runnerOptions } from "./load-options.ts";
import { openModel } from "./open-model.ts";
import type { Platform } from "./platform.ts";
import type { ModelPlan, ModelSource, PlanOptions } from "./types.ts";

/** What loading a model would take and give; reads headers only. */
export async function planModel(platform: Platform, source: ModelSource, options: PlanOptions): Promise<ModelPlan> {
  const { store = "none" } = options;
  const { checkpoint, config, sources } = await openModel(platform, source, { ...options, store });
  try {
    const { dtype = "auto", precise } = options.device ?? {};
    const opened = await platform.openGpu(options.device ?? {});
    const device = await Device.open({ ...opened, withoutF16: dtype === "f32", precise });
    const { profile } = device;
    device.dispose();
    const standard = onDevice(runnerOptions(config, options), profile, { dtype });
    await fetchKernels(profile, standard);
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
