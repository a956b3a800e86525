import { join } from "node:path";
import { loadSharedLibrary } from "./shared-library.ts";
import { unpackSparticuz } from "./sparticuz.ts";

/** Environments in which Vulkan finds SwiftShader, to be tried in turn; or the reason why there is none, and what to do. */
export type SwiftShader = { readonly environments: readonly Record<string, string>[] } | { readonly reason: string };

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
    // Dawn opens "libvulkan.so.1", and the system's linker answers with what is loaded under that name already. So this
    // replaces an LD_LIBRARY_PATH, which would have to be set before Node starts.
    loadSharedLibrary(join(folder, "libvulkan.so.1"));
    const driver = join(folder, "vk_swiftshader_icd.json");
    // Beside the drivers of the machine, so that a GPU wins that lacked nothing but a loader. Loaders before 1.3.234 cannot
    // add, nor do those whose user has chosen the drivers; then SwiftShader stands alone.
    return { environments: [{ VK_ADD_DRIVER_FILES: driver }, { VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver }] };
  } catch (error) {
    return {
      reason: `The software adapter of @sparticuz/chromium could not be unpacked: ${(error as Error).message}.`,
    };
  }
}
