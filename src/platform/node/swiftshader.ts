import { constants } from "node:os";
import { join } from "node:path";
import { unpackSparticuz } from "./sparticuz.ts";

/** The environment in which Vulkan finds SwiftShader; or the reason why there is none, and what to do about it. */
export type SwiftShader = { readonly environment: Readonly<Record<string, string>> } | { readonly reason: string };

/**
 * Makes the SwiftShader of `@sparticuz/chromium` known to this process: a software GPU for machines that have nothing,
 * not even a Vulkan loader.
 */
export async function installSwiftShader(): Promise<SwiftShader> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return { reason: "The software adapter of @sparticuz/chromium exists for Linux on x64 only." };
  }
  try {
    const folder = await unpackSparticuz("swiftshader", ["swiftshader.tar.br"]);
    if (folder === undefined) return { reason: "`npm install @sparticuz/chromium` brings a software adapter." };
    keepLoaded(join(folder, "libvulkan.so.1"));
    const driver = join(folder, "vk_swiftshader_icd.json");
    // Vulkan loaders before 1.3.207 know the second name only.
    return { environment: { VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver } };
  } catch (error) {
    return {
      reason: `The software adapter of @sparticuz/chromium could not be unpacked: ${(error as Error).message}.`,
    };
  }
}

/**
 * Dawn opens "libvulkan.so.1" by that name, and the system's linker answers with a library of the name that is already
 * loaded. So loading it first replaces an LD_LIBRARY_PATH, which would have to be set before Node starts.
 */
function keepLoaded(library: string): void {
  const RTLD_NODELETE = 0x1000;
  try {
    process.dlopen({ exports: {} }, library, constants.dlopen.RTLD_NOW | RTLD_NODELETE);
  } catch (error) {
    // Node expects an addon, objects that this is none, and would unload it but for RTLD_NODELETE.
    if (!String(error).includes("self-register")) throw error;
  }
}
