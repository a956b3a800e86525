import { CheckpointError } from "../../errors.ts";
import type { Checkpoint, FileSource } from "../checkpoint.ts";
import { canonicalTensors } from "./canonical-tensors.ts";
import { splitFiles } from "./choose-gguf.ts";
import { ggufConfig, ggufGenerationConfig, tensorLayout } from "./config.ts";
import { type GgufHeader, readGgufHeader } from "./header.ts";
import { Metadata } from "./metadata.ts";
import { storedTensors } from "./stored-tensors.ts";
import { ggufTokenizer } from "./tokenizer.ts";

/**
 * Opens a GGUF, in one file or split, as if it were a Hugging Face folder: its names, shapes and conventions. Reads
 * headers only. Fails with `CheckpointError` where one is missing, truncated, corrupt, or holds weights of a type that
 * Sluice does not read, and with `UnsupportedModelError` for another architecture.
 */
export async function openGguf(files: FileSource, file: string, signal?: AbortSignal): Promise<Checkpoint> {
  const label = `${files.label}/${file}`;
  const [firstName, ...otherNames] = splitFiles(file);
  // The first part speaks for all.
  const first = await readGgufHeader(files, firstName, signal);
  const metadata = new Metadata(label, first.metadata);
  const others = await Promise.all(otherNames.map((name) => readGgufHeader(files, name, signal)));
  const parts = [first, ...others];
  checkParts(label, parts);
  const stored = storedTensors(
    files,
    parts.flatMap(({ tensors }) => tensors),
  );
  const config = ggufConfig(label, metadata, stored);
  return {
    label,
    config,
    generationConfig: ggufGenerationConfig(metadata),
    tokenizer: ggufTokenizer(label, metadata),
    chatTemplate: metadata.text("tokenizer.chat_template"),
    tensors: canonicalTensors(stored, tensorLayout(metadata, stored)),
    sizeBytes: [...stored.values()].reduce((sum, tensor) => sum + tensor.sizeBytes, 0),
    close: async () => files.close?.(),
  };
}

function checkParts(label: string, parts: readonly GgufHeader[]): void {
  const names = parts.flatMap(({ tensors }) => tensors.map(({ name }) => name));
  const expected = parts[0].metadata.get("split.tensors.count");
  if (new Set(names).size !== names.length) {
    throw new CheckpointError(label, "its parts hold the same tensor twice: they belong to different models.");
  }
  const count = parts[0].metadata.get("split.count") ?? parts.length;
  if (count !== parts.length && count !== 0) {
    const message = `it is one of ${String(count)} parts, but named as one of ${parts.length}. `;
    throw new CheckpointError(label, `${message}Name the parts as they were: x-00001-of-00003.gguf.`);
  }
  if (typeof expected === "number" && parts.length > 1 && expected !== names.length) {
    throw new CheckpointError(label, `its parts hold ${names.length} tensors, and should hold ${expected}.`);
  }
}
