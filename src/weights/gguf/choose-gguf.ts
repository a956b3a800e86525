import { CheckpointError } from "../../errors.ts";
import type { FileSource } from "../checkpoint.ts";

const isGguf = (name: string): boolean => /\.gguf$/i.test(name);

/**
 * The `.gguf` to open: the one asked for, or the only one where there are no safetensors. Undefined where the files are
 * another kind of model. Fails with `CheckpointError` where there are several to choose from.
 */
export async function chooseGguf(
  files: FileSource,
  file: string | undefined,
  signal?: AbortSignal,
): Promise<string | undefined> {
  if (file !== undefined) return isGguf(file) ? file : undefined;
  const names = ((await files.list?.()) ?? []).filter((name) => isGguf(name) && !name.includes("/") && isModel(name));
  if (names.length === 0 || (await hasSafetensors(files, signal))) return undefined;
  if (names.length === 1) return names[0];
  const choice = names.sort().join(", ");
  throw new CheckpointError(files.label, `there are ${names.length} models: ${choice}. Say which, by the file's path.`);
}

/** Not the projector of images, and of a split model the first part only. */
const isModel = (name: string): boolean => !/^mmproj/i.test(name) && (splitOf(name)?.part ?? 1) === 1;

async function hasSafetensors(files: FileSource, signal?: AbortSignal): Promise<boolean> {
  const sizes = ["model.safetensors", "model.safetensors.index.json"].map((name) => files.size(name, signal));
  return (await Promise.all(sizes)).some((size) => size !== undefined);
}

/** The files of a model: `x-00001-of-00003.gguf` is one of three. */
export function splitFiles(file: string): string[] {
  const split = splitOf(file);
  if (!split) return [file];
  const digits = (part: number) => String(part).padStart(5, "0");
  return Array.from({ length: split.parts }, (_, i) => `${split.stem}-${digits(i + 1)}-of-${digits(split.parts)}.gguf`);
}

function splitOf(file: string): { stem: string; part: number; parts: number } | undefined {
  const match = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/.exec(file);
  return match ? { stem: match[1], part: Number(match[2]), parts: Number(match[3]) } : undefined;
}
