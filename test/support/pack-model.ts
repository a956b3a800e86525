import type { Quantization } from "../../src/api/types.ts";
import { bindWeights } from "../../src/models/qwen3-next/bind-weights.ts";
import { parseConfig } from "../../src/models/qwen3-next/config.ts";
import { packItems } from "../../src/models/qwen3-next/pack-items.ts";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import { PackFolder } from "../../src/platform/node/pack-folder.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import type { PackManifest } from "../../src/weights/packed/manifest.ts";
import { type PackTarget, type WritePackOptions, writePack } from "../../src/weights/packed/write-pack.ts";
import { MemoryPack } from "./memory-pack.ts";

export interface PackFormats {
  readonly quantization: Quantization;
  readonly experts?: Quantization;
}

const AS_IT_IS: PackFormats = { quantization: "auto" };

/** Packs the checkpoint of a folder. */
export async function packModel<T extends PackTarget = MemoryPack>(
  folder: string,
  formats: PackFormats = AS_IT_IS,
  options: WritePackOptions = {},
  target: T = new MemoryPack() as PackTarget as T,
): Promise<{ target: T; manifest: PackManifest }> {
  const checkpoint = await openCheckpoint(await FolderSource.open(folder));
  try {
    const sources = bindWeights(parseConfig(checkpoint.config), checkpoint);
    return { target, manifest: await writePack(target, checkpoint, packItems(sources, formats), options) };
  } finally {
    await checkpoint.close();
  }
}

/** The same into a folder on disk. */
export async function packToDisk(from: string, to: string): Promise<void> {
  const target = await PackFolder.create(to);
  await packModel(from, AS_IT_IS, {}, target);
  await target.close();
}
