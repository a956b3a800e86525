import { type Command, InvalidArgumentError } from "commander";
import type { LoadOptions, MemoryPlan, ModelInfo } from "../api/types.ts";
import { InvalidRequestError } from "../errors.ts";
import { LLM } from "../node.ts";
import { type AssignedGpu, assignGpus } from "../platform/node/assign-gpus.ts";
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
  readonly pipelineParallelSize?: number;
}

export const gpuOptions = (command: Command): Command =>
  command
    .option("--gpus <numbers>", "GPUs to use, such as 0,1: a process for each; `sluice devices` counts them", gpuList)
    .option("--tensor-parallel-size <count>", "use so many GPUs, in whatever way is best", wholeNumber(1))
    .option("--data-parallel-size <count>", "so many whole models, a GPU each", wholeNumber(1))
    .option("--pipeline-parallel-size <count>", "layers in so many stages, a GPU each", wholeNumber(1));

/** Which GPUs were asked for, if any were. */
export function wantedGpus(choice: GpuChoice): readonly number[] | undefined {
  const { gpus, tensorParallelSize, dataParallelSize, pipelineParallelSize } = choice;
  const isAsked = dataParallelSize !== undefined || pipelineParallelSize !== undefined;
  const count = isAsked ? (dataParallelSize ?? 1) * (pipelineParallelSize ?? 1) : tensorParallelSize;
  if (gpus && count !== undefined && gpus.length !== count) {
    throw new InvalidRequestError("--gpus", `${gpus.length} are named, and ${count} are to be used.`);
  }
  return gpus ?? (count === undefined ? undefined : Array.from({ length: count }, (_, i) => i));
}

/** Loads the model in a process for each GPU, and says what runs where. */
export async function loadOnGpus(
  model: string,
  choice: GpuChoice,
  options: LoadOptions,
  say: (line: string) => void,
): Promise<GpuPool> {
  const { adapter, reference } = options.device ?? {};
  const system = { adapters: reference ? [] : await listAdapters(), gpus: await systemGpus(), hide: hidingCommand };
  const assigned = await assignGpus({ wanted: wantedGpus(choice)!, adapter, reference }, system);
  const stages = await stagesOf(model, assigned, choice, options);
  const replicas = Array.from({ length: assigned.length / stages }, (_, i) =>
    assigned.slice(i * stages, (i + 1) * stages),
  );
  say(`Split: ${splitText(replicas.length, stages)}.`);
  const pool = await GpuPool.load(replicas.map(hostOf), model, {
    ...options,
    onChange: (label, { state, reason }) => say(`${label}: ${state === "live" ? "there again" : reason}`),
  });
  for (const { label, info } of pool.workers) say(`${label}: ${planText(info)}`);
  return pool;
}

function hostOf(gpus: readonly AssignedGpu[]): WorkerHost {
  const script = workerScript();
  const [{ label, adapter, wrapper }] = gpus;
  if (gpus.length === 1) return { label, adapter, start: () => new ChildWorker({ script, wrapper }) };
  const env = { SLUICE_STAGES: JSON.stringify(gpus) };
  return { label: gpus.map(({ label }) => label).join(" + "), start: () => new ChildWorker({ script, env }) };
}

function splitText(replicas: number, stages: number): string {
  const model = replicas === 1 ? "one model" : `${replicas} whole models`;
  return stages === 1
    ? `${model}, ${replicas === 1 ? "in a process of its own" : "a process each"}`
    : `${model}, ${replicas === 1 ? "" : "each "}in ${stages} stages of consecutive layers`;
}

/** GPUs for one model: as was asked, or as few as hold it. */
async function stagesOf(
  model: string,
  gpus: readonly AssignedGpu[],
  { pipelineParallelSize, dataParallelSize }: GpuChoice,
  options: LoadOptions,
): Promise<number> {
  if (pipelineParallelSize !== undefined) {
    if (gpus.length % pipelineParallelSize === 0) return pipelineParallelSize;
    throw new InvalidRequestError(
      "-pp",
      `${gpus.length} GPUs cannot be shared out to stages of ${pipelineParallelSize}.`,
    );
  }
  const memories = gpus.flatMap(({ memoryBytes }) => memoryBytes ?? []);
  if (dataParallelSize !== undefined || gpus.length === 1 || memories.length < gpus.length) return 1;
  const { device, quantization, maxContext, memory, configOverrides, loadFormat, tokenizer } = options;
  // A plan is made on one device, which is as good as another for that.
  const plan = await LLM.plan(model, {
    device,
    quantization,
    maxContext,
    memory,
    configOverrides,
    loadFormat,
    tokenizer,
  });
  const usable = USABLE * Math.min(...memories);
  const counts = gpus.map((_, i) => i + 1).filter((count) => gpus.length % count === 0);
  return counts.find((count) => plan.memory.total / count <= usable) ?? gpus.length;
}

/** Of a GPU's memory, what a model may take of it; the driver and compiling take the rest. */
const USABLE = 0.9;

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
