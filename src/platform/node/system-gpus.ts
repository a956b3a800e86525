import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

/** A GPU as the system sees it; WebGPU tells neither its memory nor its place. */
export interface SystemGpu {
  readonly index: number;
  readonly name: string;
  /** PCI address, such as "0000:19:00.0". */
  readonly busId: string;
  readonly memoryBytes?: number;
  /** What a process needs to use it, where that is a file of its own: "/dev/nvidia0". */
  readonly device?: string;
}

export interface SystemAccess {
  /** Where the file system begins. Default "/". */
  readonly root?: string;
  /** What `nvidia-smi` prints, or undefined where there is none. */
  readonly nvidiaSmi?: () => Promise<string | undefined>;
}

/** The GPUs of a Linux machine, NVIDIA's first, by PCI address, as `nvidia-smi` counts them. Empty elsewhere. */
export async function systemGpus({ root = "/", nvidiaSmi = runNvidiaSmi }: SystemAccess = {}): Promise<SystemGpu[]> {
  const nvidia = await nvidiaGpus(root);
  const memory = nvidia.length > 0 ? parseNvidiaSmi((await nvidiaSmi()) ?? "") : new Map<string, number>();
  const found = nvidia.map((gpu) => ({ ...gpu, memoryBytes: memory.get(gpu.busId) }));
  return [...found, ...(await otherGpus(root))].map((gpu, index) => ({ index, ...gpu }));
}

const NVIDIA_SMI_ARGS = ["--query-gpu=pci.bus_id,memory.total", "--format=csv,noheader,nounits"];

/** Bytes of memory by PCI address. */
export function parseNvidiaSmi(text: string): Map<string, number> {
  const rows = text.split("\n").map((line) => line.split(",").map((cell) => cell.trim()));
  return new Map(
    rows
      .filter(([busId, mebibytes]) => busId && Number(mebibytes) > 0)
      .map(([busId, mebibytes]) => [shortBusId(busId), Number(mebibytes) * 2 ** 20]),
  );
}

/** "Key:  value" lines, as NVIDIA's driver describes a GPU. */
const parseNvidiaInformation = (text: string): ReadonlyMap<string, string> =>
  new Map(Array.from(text.matchAll(/^([^:\n]+):[ \t]*(.*)$/gm), ([, key, value]) => [key.trim(), value.trim()]));

type Found = Omit<SystemGpu, "index">;

async function nvidiaGpus(root: string): Promise<Found[]> {
  const folder = join(root, "proc/driver/nvidia/gpus");
  const gpus = await Promise.all(
    (await list(folder)).map(async (busId): Promise<Found> => {
      const facts = parseNvidiaInformation(await read(join(folder, busId, "information")));
      const device = `/dev/nvidia${facts.get("Device Minor")}`;
      return { name: facts.get("Model") ?? "NVIDIA GPU", busId: shortBusId(busId), device };
    }),
  );
  // A container may see the description of a GPU that it was not given.
  return gpus.filter(({ device }) => existsSync(join(root, device!)));
}

/** Display controllers of other makers that a driver runs. */
async function otherGpus(root: string): Promise<Found[]> {
  const folder = join(root, "sys/bus/pci/devices");
  const found = await Promise.all(
    (await list(folder)).map(async (busId): Promise<Found | undefined> => {
      const fact = async (name: string) => (await read(join(folder, busId, name))).trim();
      const maker = MAKERS[await fact("vendor")];
      if (!maker || !(await fact("class")).startsWith("0x03") || !existsSync(join(folder, busId, "driver"))) return;
      const memoryBytes = Number(await fact("mem_info_vram_total")) || undefined;
      return { name: `${maker} ${(await fact("device")).replace(/^0x/, "")}`, busId, memoryBytes };
    }),
  );
  return found.filter((gpu) => gpu !== undefined);
}

const MAKERS: Readonly<Record<string, string>> = { "0x1002": "AMD", "0x8086": "Intel" };

/** "00000000:19:00.0", as nvidia-smi writes it, is "0000:19:00.0" to everybody else. */
const shortBusId = (busId: string): string => busId.toLowerCase().replace(/^0000(?=[0-9a-f]{4}:)/, "");

const list = async (folder: string): Promise<string[]> => (await readdir(folder).catch(() => [])).toSorted();

const read = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");

async function runNvidiaSmi(): Promise<string | undefined> {
  try {
    return (await promisify(execFile)("nvidia-smi", NVIDIA_SMI_ARGS, { timeout: 10_000 })).stdout;
  } catch {
    return undefined;
  }
}
