import { InvalidRequestError } from "../errors.ts";
import { overrideConfig } from "../models/qwen3-next/override-config.ts";
import { SHAPES } from "../models/qwen3-next/shapes.ts";
import { syntheticModel } from "../models/qwen3-next/synthetic.ts";
import { convertWeights } from "../models/qwen3-next/weights.ts";
import { synthesizeWeight } from "../runner/synthesize.ts";
import { madeUpSource } from "../weights/made-up.ts";
import { openTexts } from "../weights/open-checkpoint.ts";
import { deviceFormat } from "../weights/plan-format.ts";
import type { OpenedModel, OpenOptions } from "./open-model.ts";
import type { Platform } from "./platform.ts";
import type { ModelSource } from "./types.ts";

/**
 * A model whose weights are made up on the device, each seeded by its name: `source` is a published shape's name, or has a
 * config.json. Whoever holds some of its layers holds what these are in the whole.
 */
export async function openDummy(
  platform: Platform,
  source: ModelSource,
  { store, hubToken, tokenizer, configOverrides = {}, quantization = "auto", signal }: OpenOptions,
): Promise<OpenedModel> {
  const texts = async (from: ModelSource) => {
    const files = await platform.openFiles(from, { store, hubToken });
    try {
      return { label: files.label, ...(await openTexts(files, signal)) };
    } finally {
      await files.close?.();
    }
  };
  const shape = typeof source === "string" ? SHAPES[source.toLowerCase()] : undefined;
  const own = shape ? undefined : await texts(source);
  const json = shape ?? own?.config;
  if (!json) {
    const known = Object.keys(SHAPES).join(", ");
    throw new InvalidRequestError("loadFormat", `${own?.label} has no config.json, and is none of ${known}.`);
  }
  const { checkpoint, config, sources } = syntheticModel(
    overrideConfig(json, configOverrides),
    own?.label ?? String(source),
  );
  const { config: _, label: __, ...words } = (tokenizer === undefined ? own : await texts(tokenizer)) ?? { label: "" };
  const made = new Map();
  return {
    checkpoint: { ...checkpoint, ...words },
    config,
    sources: convertWeights(sources, (leaf) => {
      // A leaf that is shared stays shared.
      if (!made.has(leaf)) made.set(leaf, madeUpSource(leaf, deviceFormat(leaf, quantization)));
      return made.get(leaf);
    }),
    loadWeight: synthesizeWeight,
  };
}
