import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

// This file and what is built from it lie two folders below the package's own.
const inPackage = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

export const packageVersion = (): string => JSON.parse(readFileSync(inPackage("package.json"), "utf8")).version;

/** The folder of Sprout, the model that the package brings. */
export const sproutFolder = (): string => inPackage("demo/public/models/sprout");

/** The built program of a process that runs a model on one GPU. */
export const workerScript = (): string => inPackage("dist/node/gpu-worker.js");

/** The commit that is checked out, `-dirty` if files differ from it; undefined outside of a clone. */
export function gitCommit(): string | undefined {
  if (!existsSync(inPackage(".git"))) return undefined;
  try {
    const args = ["-C", inPackage("."), "describe", "--always", "--dirty", "--exclude=*"];
    return execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  } catch {
    return undefined;
  }
}
