import { totalmem } from "node:os";
import { onDevice, runnerOptions } from "../api/load-options.ts";
import { openModel } from "../api/open-model.ts";
import type { LoadOptions, MemoryPlan } from "../api/types.ts";
import { InvalidRequestError } from "../errors.ts";
import { Device } from "../gpu/device.ts";
import { openGpu } from "../platform/node/gpu.ts";
import { nodePlatform } from "../platform/node/platform.ts";
import { systemGpus } from "../platform/node/system-gpus.ts";
import { slotsWithin } from "../runner/expert-budget.ts";
import { memoryPlan } from "../runner/memory-plan.ts";
import { fetchKernels } from "../runner/record-step.ts";
import { bytesText, table } from "./text.ts";

/** What serving a model takes, known from its headers. */
export interface ServePlan {
  readonly device: string;
  /** Undefined where nobody knows. */
  readonly deviceBytes?: number;
  readonly memory: MemoryPlan;
  readonly maxContext: number;
  readonly maxSequences: number;
  readonly cacheTokens: number;
  readonly bytesPerToken: number;
  readonly stateBytes: number;
  /** Experts of a layer on the device, where these are not all. */
  readonly expertSlots?: number;
}

/**
 * Plans memory. With `utilization`, the KV cache gets what is left of that share of the device's memory.
 *
 * @throws InvalidRequestError where nobody knows how much memory there is, or not even one context fits
 */
export async function planServing(source: string, options: LoadOptions, utilization?: number): Promise<ServePlan> {
  const { device: { adapter, dtype = "auto", precise } = {} } = options;
  const { checkpoint, config, sources } = await openModel(nodePlatform, source, options);
  const device = await Device.open({ ...(await openGpu({ adapter })), withoutF16: dtype === "f32", precise });
  try {
    const { profile } = device;
    const deviceBytes = await deviceMemory(device);
    const { maxBatchTokens } = options;
    const standard = onDevice(runnerOptions(config, options), profile, { dtype, maxBatchTokens });
    await fetchKernels(profile, standard);
    const { maxContext, maxSequences = 1 } = standard;
    const planOf = (cacheTokens: number) => {
      const runner = { ...standard, cacheTokens };
      const expertSlots = slotsWithin(options.memory, sources, profile, runner);
      return { expertSlots, memory: memoryPlan(sources, profile, { ...runner, expertSlots }) };
    };
    const one = planOf(maxContext);
    const blockTokens = 64;
    const bytesPerToken = one.memory.kvCache / (Math.ceil(maxContext / blockTokens) + 1) / blockTokens;
    // All of a layer's keys are one buffer.
    const attentionLayers = config.layers.filter(({ mixer }) => mixer === "attention").length;
    const bufferBytes = Math.min(profile.maxBindingBytes, profile.maxBufferBytes);
    const maxTokens = Math.floor((bufferBytes * 2 * attentionLayers) / bytesPerToken / blockTokens - 1) * blockTokens;
    const fitted = utilization === undefined ? undefined : fitCache(utilization);
    const cacheTokens = Math.max(maxContext, fitted ?? standard.cacheTokens ?? maxContext);
    const stateBytes = one.memory.recurrentState / maxSequences;
    const sizes = { maxContext, maxSequences, cacheTokens, bytesPerToken, stateBytes };
    return { device: device.name, deviceBytes, ...sizes, ...planOf(cacheTokens) };

    function fitCache(share: number): number {
      if (deviceBytes === undefined) {
        const message = `nobody tells how much memory ${device.name} has. Use --kv-cache-tokens.`;
        throw new InvalidRequestError("--gpu-memory-utilization", message);
      }
      const left = share * deviceBytes - one.memory.total;
      if (left < 0) {
        throw new InvalidRequestError(
          "--gpu-memory-utilization",
          `${share} of ${bytesText(deviceBytes)} is less than the ${bytesText(one.memory.total)} that the model takes with one ` +
            "context. Try a smaller --max-model-len or --max-num-seqs, --quantization q4, or --memory to keep experts elsewhere.",
        );
      }
      return Math.min(maxTokens, maxContext + Math.floor(left / bytesPerToken / blockTokens) * blockTokens);
    }
  } finally {
    device.dispose();
    await checkpoint.close();
  }
}

/** Bytes of memory of a device, where the system tells. */
async function deviceMemory({ name, isSoftware }: Device): Promise<number | undefined> {
  if (isSoftware) return totalmem();
  const gpus = await systemGpus();
  const named = gpus.find((gpu) => name.includes(gpu.name) || gpu.name.includes(name));
  return (named ?? gpus[0])?.memoryBytes;
}

/** The plan, for a person. */
export function planText(plan: ServePlan): string {
  const { memory, maxContext, maxSequences, cacheTokens, deviceBytes } = plan;
  const lengths = [...new Set([1024, 4096, 16_384, 65_536, maxContext])].filter((tokens) => tokens <= maxContext);
  return [
    `Memory on ${plan.device}${deviceBytes === undefined ? "" : `, which has ${bytesText(deviceBytes)}`}`,
    table(
      [
        [
          "weights",
          bytesText(memory.weights),
          plan.expertSlots ? `${plan.expertSlots} experts a layer; others are read when needed` : "",
        ],
        ["KV cache", bytesText(memory.kvCache), `${cacheTokens} tokens, ${bytesText(plan.bytesPerToken)} each`],
        [
          "recurrent state",
          bytesText(memory.recurrentState),
          `${maxSequences} replies, ${bytesText(plan.stateBytes)} each`,
        ],
        ["snapshots of it", bytesText(memory.snapshots), "for prompts that begin alike"],
        ["scratch", bytesText(memory.scratch), ""],
        ["other", bytesText(memory.other), ""],
        ["total", bytesText(memory.total), ""],
      ],
      { left: [0, 2] },
    ),
    "",
    table([
      ["tokens a request", "requests that fit at once"],
      ...lengths.map((tokens) => [String(tokens), String(Math.min(maxSequences, Math.floor(cacheTokens / tokens)))]),
    ]),
    ...(deviceBytes !== undefined && memory.total > deviceBytes
      ? ["", "That is more than the device has: try --memory, --quantization q4, or less of everything."]
      : []),
  ].join("\n");
}
