import type { Command } from "commander";
import { type AdapterDescription, describeAdapter } from "../gpu/describe-adapter.ts";
import { listAdapters, openGpu } from "../platform/node/gpu.ts";
import { type SystemGpu, systemGpus } from "../platform/node/system-gpus.ts";
import { bytesText, table } from "./text.ts";

export function addDevices(program: Command): void {
  program
    .command("devices")
    .description("List the adapters that a model can run on, best first.")
    .option("--json", "one JSON array")
    .addHelpText("after", "\nExample:\n  $ sluice devices")
    .action(devices);
}

async function devices({ json }: { readonly json?: boolean }): Promise<void> {
  const names = await listAdapters();
  const opened = names.length > 0 ? names.map((adapter) => openGpu({ adapter })) : [openGpu()];
  const adapters = (await Promise.all(opened)).map(({ adapter }) => describeAdapter(adapter));
  const gpus = await systemGpus();
  if (json) {
    // Equal GPUs are one adapter to WebGPU.
    const described = adapters.map((adapter) => ({
      ...adapter,
      gpus: gpus.filter(({ name }) => name === adapter.name),
    }));
    console.log(JSON.stringify(described, undefined, 2));
    return;
  }
  console.log(table([HEADER, ...adapters.map(rowOf)]));
  if (gpus.length > 0) console.log(`\n${table([GPU_HEADER, ...gpus.map(gpuRow)], { left: [0, 1, 2] })}`);
}

const GPU_HEADER = ["GPU", "name", "bus", "memory"];

const gpuRow = ({ index, name, busId, memoryBytes }: SystemGpu): string[] => [
  String(index),
  name,
  busId,
  memoryBytes === undefined ? "unknown" : bytesText(memoryBytes),
];

const HEADER = ["adapter", "kind", "f16", "subgroups", "buffers up to"];

const rowOf = ({ name, isSoftware, features, subgroupSize, limits }: AdapterDescription): string[] => [
  name,
  isSoftware ? "software" : "GPU",
  features.includes("shader-f16") ? "yes" : "no",
  subgroupSize ? [...new Set(subgroupSize)].join("–") : "no",
  bytesText(Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize)),
];
