import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { InvalidRequestError } from "../errors.ts";

// This file and what is built from it lie two folders below the package's own.
const inPackage = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

export const packageVersion = (): string => JSON.parse(readFileSync(inPackage("package.json"), "utf8")).version;

/** The folder of Sprout, the model that the package brings; of which a bundle for GPU servers has the tokenizer only. */
export const sproutFolder = (): string => inPackage("demo/public/models/sprout");

/** The model where none is named. @throws InvalidRequestError where none was brought. */
export function defaultModel(folder = sproutFolder()): string {
  if (existsSync(join(folder, "model.safetensors"))) return folder;
  throw new InvalidRequestError(
    "model",
    "none is named, and this build brings none. Name a folder, an address or hf:owner/name, or take --shape for made-up weights.",
  );
}

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
