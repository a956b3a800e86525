import { create, globals } from "webgpu";
import { UnsupportedDeviceError } from "../../errors.ts";
import { restWhileWaiting } from "./rest.ts";
import { loadSharedLibrary } from "./shared-library.ts";
import { installSwiftShader } from "./swiftshader.ts";

export interface GpuOptions {
  /** A part of the adapter's name in any case, such as "nvidia", "llvmpipe" or "swiftshader". By default the best is taken. */
  readonly adapter?: string;
  /** Leaves out what browsers always check: bounds, validation, zeroed workgroup memory. Off by default. */
  readonly fast?: boolean;
  /** More of Dawn's toggles to enable, such as "dump_shaders". */
  readonly toggles?: readonly string[];
}

export interface NodeGpu {
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
}

/** Dawn ends the process when a `GPU` is collected while its devices are in use, so each lives as long as the process. */
const opened = new Set<GPU>();

/**
 * WebGPU in Node, on Dawn. A real GPU always wins; then lavapipe, the fastest software adapter; then any other. Where a
 * machine has none at all, it is the SwiftShader that `@sparticuz/chromium` carries, if that package is installed.
 * WebGPU's globals (`GPUBufferUsage` and so on) are defined as well.
 *
 * @throws UnsupportedDeviceError when no adapter answers, or none of the name asked for.
 */
export async function openGpu(options: GpuOptions = {}): Promise<NodeGpu> {
  defineGlobals();
  const names = await listAdapters();
  const name = choose(names, options.adapter);
  if (name !== undefined) return open(name, options);

  const swiftShader = await installSwiftShader();
  if ("reason" in swiftShader) throw notFound(names, options.adapter, swiftShader.reason);
  for (const environment of swiftShader.environments) {
    const software = await withEnvironment(environment, async () => {
      names.push(...(await listAdapters()));
      const name = choose(names, options.adapter);
      return name === undefined ? undefined : open(name, options);
    });
    if (software) return software;
  }
  throw notFound(names, options.adapter);
}

let isDefined = false;
function defineGlobals(): void {
  if (isDefined) return;
  isDefined = true;
  Object.assign(globalThis, globals);
  restWhileWaiting(globals as Record<string, unknown>);
}

/** The names of the adapters that the machine offers by itself, best first. */
export async function listAdapters(): Promise<string[]> {
  // Dawn would find out as well, but complains aloud.
  if (process.platform === "linux" && !loadSharedLibrary("libvulkan.so.1")) return [];
  try {
    // Dawn names its adapters when it is asked for one that is not there, and in no other way.
    await create(["adapter=\n"]).requestAdapter();
    return [];
  } catch (error) {
    const names = Array.from(String(error).matchAll(/name: '(.*)'/g), (match) => match[1]);
    return [...new Set(names)].sort((a, b) => rank(a) - rank(b));
  }
}

/** A name is all that Dawn tells before an adapter is opened. */
const rank = (name: string) => (/llvmpipe/i.test(name) ? 1 : /swiftshader|basic render/i.test(name) ? 2 : 0);

const choose = (names: readonly string[], wanted = "") =>
  names.find((name) => name.toLowerCase().includes(wanted.toLowerCase()));

async function open(name: string, { fast = false, toggles = [] }: GpuOptions): Promise<NodeGpu> {
  const enabled = [...ALWAYS, ...(fast ? UNCHECKED : []), ...toggles];
  const disabled = fast ? ["enable_spirv_validation", "timestamp_quantization"] : [];
  const gpu = create([`adapter=${name}`, `enable-dawn-features=${enabled}`, `disable-dawn-features=${disabled}`]);
  opened.add(gpu);
  const adapter = await gpu.requestAdapter();
  if (!adapter) throw new UnsupportedDeviceError(name, `"${name}" is listed as an adapter, but cannot be opened.`);
  return { gpu, adapter };
}

/** Without `vulkan_enable_f16_on_nvidia` NVIDIA's adapters have no f16 on Vulkan, whatever their driver can do. */
const ALWAYS = ["allow_unsafe_apis", "vulkan_enable_f16_on_nvidia", "use_vulkan_memory_model"];

/** Leaves out what shaders do not need any more that have passed their tests with it. */
const UNCHECKED = [
  "disable_robustness",
  "skip_validation",
  "disable_workgroup_init",
  "disable_polyfills_on_integer_div_and_mod",
];

function notFound(names: readonly string[], wanted: string | undefined, reason = ""): UnsupportedDeviceError {
  const asked = wanted === undefined ? "No WebGPU adapter was found" : `No WebGPU adapter has "${wanted}" in its name`;
  const found = names.length === 0 ? "." : `; there is ${[...new Set(names)].map((name) => `"${name}"`).join(", ")}.`;
  const advice =
    process.platform === "linux"
      ? "Install the Vulkan driver of your GPU, or a software adapter: Mesa's mesa-vulkan-drivers, version 25 or later."
      : "Update the driver of your GPU.";
  return new UnsupportedDeviceError(wanted ?? "none", [asked + found, advice, reason].filter(Boolean).join(" "));
}

async function withEnvironment<T>(variables: Readonly<Record<string, string>>, action: () => Promise<T>): Promise<T> {
  const former = { ...process.env };
  Object.assign(process.env, variables);
  try {
    return await action();
  } finally {
    for (const name of Object.keys(variables)) {
      if (former[name] === undefined) delete process.env[name];
      else process.env[name] = former[name];
    }
  }
}
