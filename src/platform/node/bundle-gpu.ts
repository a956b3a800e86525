import { execFileSync } from "node:child_process";
import { chmod, copyFile, cp, mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { unpackSparticuz } from "./sparticuz.ts";

/** Starts Sluice from the bundle: its own Node, its own Vulkan loader, the server's driver. */
const LAUNCHER = `#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
export LD_LIBRARY_PATH="$here/lib\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
# NVIDIA's own entry for Vulkan needs GLVND and X11, which a bare server lacks. The driver's EGL library serves as well.
if [ -z "$VK_DRIVER_FILES" ] && ldconfig -p | grep -q libEGL_nvidia && ! ldconfig -p | grep -q libGLdispatch; then
  export VK_DRIVER_FILES="$here/lib/nvidia-egl-icd.json"
fi
export XDG_RUNTIME_DIR="\${XDG_RUNTIME_DIR:-/tmp}"
# Files are read and hashes checked by these threads, of which Node has four.
export UV_THREADPOOL_SIZE="\${UV_THREADPOOL_SIZE:-$(nproc)}"
exec "$here/node" "$here/app/dist/node/cli.js" "$@"
`;

const NVIDIA_EGL_DRIVER = JSON.stringify({
  file_format_version: "1.0.0",
  ICD: { library_path: "libEGL_nvidia.so.0", api_version: "1.3.0" },
});

const NAME = "sluice-gpu-linux-x64";

/**
 * Packs all that a Linux x64 GPU server without network, npm or Vulkan loader needs into one archive in `outFolder`:
 * this Node, Dawn's binding, the loader that `@sparticuz/chromium` carries, and the built package without its demo, with Sprout's tokenizer.
 * Needs tar and xz.
 *
 * @returns the archive's path and size in bytes
 */
export async function bundleGpu(root: string, outFolder: string): Promise<{ path: string; sizeBytes: number }> {
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Error(
      `The bundle is for Linux x64 and carries the Node it is made with, which is for ${process.platform} ${process.arch}.`,
    );
  }
  const folder = join(outFolder, NAME);
  await rm(folder, { recursive: true, force: true });
  const app = join(folder, "app");
  await mkdir(join(folder, "lib"), { recursive: true });
  await copyFile(process.execPath, join(folder, "node"));
  strip(join(folder, "node"));
  await cp(join(root, "dist/node"), join(app, "dist/node"), {
    recursive: true,
    filter: (path) => !path.endsWith(".map"),
  });
  for (const file of ["package.json", "LICENSE"]) await copyFile(join(root, file), join(app, file));
  const sprout = "demo/public/models/sprout";
  const isText = (path: string) => !path.endsWith(".safetensors");
  // Its tokenizer serves models without weights.
  await cp(join(root, sprout), join(app, sprout), { recursive: true, filter: isText });
  for (const name of await dependenciesOf(root)) await copyPackage(root, app, name);
  const swiftShader = await unpackSparticuz("swiftshader", ["swiftshader.tar.br"]);
  if (!swiftShader)
    throw new Error("The Vulkan loader comes from @sparticuz/chromium, which is not installed. Run npm ci.");
  await copyFile(join(swiftShader, "libvulkan.so.1"), join(folder, "lib/libvulkan.so.1"));
  await writeFile(join(folder, "lib/nvidia-egl-icd.json"), NVIDIA_EGL_DRIVER);
  await writeFile(join(folder, "sluice"), LAUNCHER);
  await chmod(join(folder, "sluice"), 0o755);

  const path = join(outFolder, `${NAME}.tar.xz`);
  execFileSync("tar", ["-C", outFolder, "-cf", path, "--use-compress-program", "xz -4 -T0", NAME], {
    stdio: "inherit",
  });
  await rm(folder, { recursive: true });
  return { path, sizeBytes: (await stat(path)).size };
}

/** Names of the packages that the one in `root` needs, and of those that they need; npm puts all side by side here. */
async function dependenciesOf(root: string): Promise<Set<string>> {
  const needs = async (folder: string): Promise<string[]> =>
    Object.keys(JSON.parse(await readFile(join(folder, "package.json"), "utf8")).dependencies ?? {});
  const names = new Set(await needs(root));
  // A set also visits what is added meanwhile.
  for (const name of names) for (const need of await needs(join(root, "node_modules", name))) names.add(need);
  return names;
}

/** A package as it is needed here: Dawn's binding is there for every system, and its installer has done its work. */
async function copyPackage(root: string, app: string, name: string): Promise<void> {
  const from = join(root, "node_modules", name);
  await cp(from, join(app, "node_modules", name), {
    recursive: true,
    filter: (path) => name !== "webgpu" || !/^(build|dist\/(?!linux-x64|$))/.test(`${relative(from, path)}/`),
  });
}

/** Symbols are a tenth of Node; without a `strip` they stay. */
function strip(file: string): void {
  try {
    execFileSync("strip", [file], { stdio: "ignore" });
  } catch {
    // The archive is a little larger.
  }
}
