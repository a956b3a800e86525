import { CheckpointError } from "../errors.ts";
import type { Checkpoint, FileSource } from "./checkpoint.ts";
import { chooseGguf } from "./gguf/choose-gguf.ts";
import { openPacked } from "./packed/open-packed.ts";
import { quantizationScheme } from "./quantized/scheme.ts";
import { openTensors } from "./tensor-table.ts";

type JsonObject = Readonly<Record<string, unknown>>;

/**
 * Opens a Hugging Face model folder (its JSON files and the headers of its safetensors) or a GGUF; weights are read later,
 * by rows. `file` says which `.gguf` where there are several. Fails with `CheckpointError`, which names the file, where one
 * is missing, truncated or corrupt; `files` is then closed.
 */
export async function openCheckpoint(
  files: FileSource,
  signal?: AbortSignal,
  file: string | undefined = files.file,
): Promise<Checkpoint> {
  try {
    const packed = file === undefined ? await openPacked(files, signal) : undefined;
    if (packed) return packed;
    const gguf = await chooseGguf(files, file, signal);
    if (gguf === undefined) return await openFolder(files, signal);
    // A page fetches what reads other formats when it meets one.
    const { openGguf } = await import("./gguf/open-gguf.ts");
    return await openGguf(files, gguf, signal);
  } catch (error) {
    await files.close?.();
    throw error;
  }
}

async function openFolder(files: FileSource, signal?: AbortSignal): Promise<Checkpoint> {
  const { config, ...texts } = await openTexts(files, signal);
  if (!config) {
    throw new CheckpointError(
      files.label,
      "there is no config.json. A model's folder holds config.json, tokenizer.json, tokenizer_config.json and " +
        "model.safetensors (or its shards with model.safetensors.index.json).",
    );
  }
  const tensors = await openTensors(files, quantizationScheme(config), signal);
  return {
    label: files.label,
    config,
    ...texts,
    tensors,
    sizeBytes: [...tensors.values()].reduce((sum, tensor) => sum + tensor.sizeBytes, 0),
    close: async () => files.close?.(),
  };
}

/** What a model's folder holds besides weights, as far as it is there. */
export async function openTexts(
  files: FileSource,
  signal?: AbortSignal,
): Promise<Pick<Checkpoint, "generationConfig" | "tokenizer" | "chatTemplate"> & { readonly config?: JsonObject }> {
  const [config, generationConfig, tokenizerJson, tokenizerConfig, jinja] = await Promise.all([
    readObject(files, "config.json", signal),
    readObject(files, "generation_config.json", signal),
    readObject(files, "tokenizer.json", signal),
    readObject(files, "tokenizer_config.json", signal),
    readText(files, "chat_template.jinja", signal),
  ]);
  return {
    config,
    generationConfig: generationConfig ?? {},
    tokenizer: tokenizerJson && { json: tokenizerJson, config: tokenizerConfig ?? {} },
    chatTemplate: jinja ?? templateOf(tokenizerConfig?.chat_template),
  };
}

/** `chat_template` is Jinja source, or a list of named ones. */
function templateOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const template = value.find((entry) => entry?.name === "default")?.template;
  return typeof template === "string" ? template : undefined;
}

async function readObject(files: FileSource, name: string, signal?: AbortSignal): Promise<JsonObject | undefined> {
  const text = await readText(files, name, signal);
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CheckpointError(`${files.label}/${name}`, `this is not JSON (${(cause as Error).message}).`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new CheckpointError(`${files.label}/${name}`, "this is not a JSON object.");
  }
  return value as JsonObject;
}

async function readText(files: FileSource, name: string, signal?: AbortSignal): Promise<string | undefined> {
  if ((await files.size(name, signal)) === undefined) return undefined;
  return new TextDecoder().decode(await files.read(name, undefined, signal));
}
