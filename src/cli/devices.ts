import type { Command } from "commander";
import { type AdapterDescription, describeAdapter } from "../gpu/describe-adapter.ts";
import { listAdapters, openGpu } from "../platform/node/gpu.ts";
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
  console.log(json ? JSON.stringify(adapters, undefined, 2) : table([HEADER, ...adapters.map(rowOf)]));
}

const HEADER = ["adapter", "kind", "f16", "subgroups", "buffers up to"];

const rowOf = ({ name, isSoftware, features, subgroupSize, limits }: AdapterDescription): string[] => [
  name,
  isSoftware ? "software" : "GPU",
  features.includes("shader-f16") ? "yes" : "no",
  subgroupSize ? [...new Set(subgroupSize)].join("–") : "no",
  bytesText(Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize)),
];
