import { InvalidRequestError, UnsupportedDeviceError } from "../../errors.ts";
import type { SystemGpu } from "./system-gpus.ts";

export interface AssignRequest {
  /** Numbers of GPUs, as `sluice devices` counts them. */
  readonly wanted: readonly number[];
  /** Part of an adapter's name that was asked for. */
  readonly adapter?: string;
  readonly reference?: boolean;
}

export interface SystemView {
  /** WebGPU's adapters, best first; of equal ones, one. */
  readonly adapters: readonly string[];
  readonly gpus: readonly SystemGpu[];
  /** A command that hides devices from the command behind it, where that can be done. */
  hide(devices: readonly string[]): Promise<readonly string[] | undefined>;
}

/** How a process gets to see one GPU only. */
export interface AssignedGpu {
  readonly label: string;
  /** Where it decides: the name of the adapter to open. */
  readonly adapter?: string;
  readonly wrapper?: readonly string[];
  readonly memoryBytes?: number;
}

/**
 * Finds for each GPU that is wanted how a process of its own can have it alone. Equal GPUs cannot be told apart inside a
 * process, so the others are hidden from it; different ones are told apart by name; a software adapter is shared.
 *
 * @throws InvalidRequestError for a GPU that is not there, UnsupportedDeviceError where GPUs cannot be told apart
 */
export async function assignGpus(request: AssignRequest, system: SystemView): Promise<AssignedGpu[]> {
  const { wanted, adapter, reference } = request;
  if (new Set(wanted).size !== wanted.length) throw new InvalidRequestError("--gpus", "a GPU is named twice.");
  const chosen = system.adapters.find((name) => name.toLowerCase().includes(adapter?.toLowerCase() ?? ""));
  if (reference || chosen === undefined || isSoftware(chosen)) {
    const name = reference ? "CPU reference" : (chosen ?? "software adapter");
    return wanted.map((i) => ({ label: `worker ${i}, ${name}`, adapter }));
  }
  const nvidia = system.gpus.filter(({ device }) => device);
  const hardware = system.adapters.filter((name) => !isSoftware(name));
  if (nvidia.length > 0 && nvidia.length === system.gpus.length) {
    return Promise.all(wanted.map((i) => assignNvidia(at(nvidia, i, nvidia.map(print)), nvidia, system, adapter)));
  }
  if (hardware.length < system.gpus.length && wanted.length > 1) throw indistinguishable(system.gpus.map(print));
  return wanted.map((i) => {
    const name = at(hardware, i, hardware);
    return { label: `GPU ${i}, ${name}`, adapter: name, memoryBytes: soleMemory(system.gpus) };
  });
}

async function assignNvidia(
  gpu: SystemGpu,
  all: readonly SystemGpu[],
  { hide }: SystemView,
  adapter: string | undefined,
): Promise<AssignedGpu> {
  const { memoryBytes } = gpu;
  const label = `GPU ${print(gpu)}`;
  const others = all.filter((other) => other !== gpu);
  if (others.length === 0) return { label, adapter, memoryBytes };
  const wrapper = await hide(others.map(({ device }) => device!));
  if (wrapper) return { label, adapter, wrapper, memoryBytes };
  if (others.some(({ name }) => name.includes(gpu.name))) throw indistinguishable(all.map(print));
  return { label, adapter: gpu.name, memoryBytes };
}

const isSoftware = (name: string): boolean => /llvmpipe|swiftshader|basic render/i.test(name);

const print = ({ index, name, busId }: SystemGpu): string => `${index}, ${name}, ${busId}`;

const soleMemory = (gpus: readonly SystemGpu[]): number | undefined =>
  gpus.length === 1 ? gpus[0].memoryBytes : undefined;

function at<T>(all: readonly T[], index: number, names: readonly string[]): T {
  if (index < all.length) return all[index];
  throw new InvalidRequestError("--gpus", `there is no GPU ${index}. There is: ${names.join("; ")}.`);
}

const indistinguishable = (gpus: readonly string[]): UnsupportedDeviceError =>
  new UnsupportedDeviceError(
    gpus[0],
    `A process cannot be given one of these GPUs alone: ${gpus.join("; ")}. Run as root, or where users may make ` +
      "namespaces (unshare -Urm), so that the others can be hidden from it; or start one container for each GPU " +
      "(NVIDIA_VISIBLE_DEVICES), or a Vulkan layer that chooses the device, and one server in each.",
  );
