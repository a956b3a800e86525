import { type Command, InvalidArgumentError } from "commander";
import type { LoadOptions, MemoryPlan, ModelInfo } from "../api/types.ts";
import { assignGpus } from "../platform/node/assign-gpus.ts";
import { ChildWorker } from "../platform/node/child-worker.ts";
import { listAdapters } from "../platform/node/gpu.ts";
import { hidingCommand } from "../platform/node/hide-devices.ts";
import { systemGpus } from "../platform/node/system-gpus.ts";
import { GpuPool } from "../workers/gpu-pool.ts";
import type { WorkerHost } from "../workers/worker-host.ts";
import { wholeNumber } from "./options.ts";
import { workerScript } from "./package.ts";
import { bytesText } from "./text.ts";

export interface GpuChoice {
  readonly gpus?: readonly number[];
  readonly tensorParallelSize?: number;
  readonly dataParallelSize?: number;
}

export const gpuOptions = (command: Command): Command =>
  command
    .option("--gpus <numbers>", "GPUs to use, such as 0,1: a process for each; `sluice devices` counts them", gpuList)
    .option("--tensor-parallel-size <count>", "use so many GPUs, in whatever way is best", wholeNumber(1))
    .option("--data-parallel-size <count>", "so many whole models, a GPU each", wholeNumber(1));

/** Which GPUs were asked for, if any were. */
export function wantedGpus({ gpus, tensorParallelSize, dataParallelSize }: GpuChoice): readonly number[] | undefined {
  const count = dataParallelSize ?? tensorParallelSize;
  return gpus ?? (count === undefined ? undefined : Array.from({ length: count }, (_, i) => i));
}

/** Loads the model in a process for each GPU, and says what runs where. */
export async function loadOnGpus(
  model: string,
  wanted: readonly number[],
  options: LoadOptions,
  say: (line: string) => void,
): Promise<GpuPool> {
  const { adapter, reference } = options.device ?? {};
  const system = { adapters: reference ? [] : await listAdapters(), gpus: await systemGpus(), hide: hidingCommand };
  const assigned = await assignGpus({ wanted, adapter, reference }, system);
  const hosts = assigned.map(
    ({ label, adapter, wrapper }): WorkerHost => ({
      label,
      adapter,
      start: () => new ChildWorker({ script: workerScript(), wrapper }),
    }),
  );
  say(`Split: ${hosts.length === 1 ? "one process" : `${hosts.length} whole models, a process each`}.`);
  const pool = await GpuPool.load(hosts, model, {
    ...options,
    onChange: (label, { state, reason }) => say(`${label}: ${state === "live" ? "there again" : reason}`),
  });
  for (const { label, info } of pool.workers) say(`${label}: ${planText(info)}`);
  return pool;
}

const planText = ({ memory, maxSequences, cacheTokens }: ModelInfo): string => {
  const parts = PARTS.map(([part, name]) => `${name} ${bytesText(memory[part])}`);
  return `${bytesText(memory.total)} (${parts.join(", ")}); ${maxSequences} replies, ${cacheTokens} tokens of cache`;
};

const PARTS = [
  ["weights", "weights"],
  ["kvCache", "KV cache"],
  ["recurrentState", "states"],
  ["snapshots", "snapshots"],
  ["scratch", "scratch"],
  ["other", "other"],
] as const satisfies [keyof MemoryPlan, string][];

function gpuList(text: string): number[] {
  if (!/^\d+(,\d+)*$/.test(text)) throw new InvalidArgumentError("Numbers between commas are wanted, such as 0,1.");
  return text.split(",").map(Number);
}
