import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { Command } from "commander";
import type { LoadOptions } from "../api/types.ts";
import { InvalidRequestError } from "../errors.ts";
import { defaultModel, sproutFolder } from "./package.ts";

/** For models without weights. */
export interface DummyChoice {
  readonly loadFormat?: string;
  readonly shape?: string;
  readonly tokenizer?: string;
}

export const dummyOptions = (command: Command): Command =>
  command
    .option(
      "--load-format <format>",
      "dummy makes weights up on the device, for a folder with a config.json; any other is found out",
    )
    .option("--shape <name>", "the same for a published shape, such as qwen3-next-80b-a3b, or a config.json")
    .option("--tokenizer <folder>", "its tokenizer, where the folder has none (default: Sprout's)");

/** The model that is to be loaded, and how where its weights are made up. */
export function modelAsked(
  model: string | undefined,
  { loadFormat, shape, tokenizer }: DummyChoice,
): { readonly source: string } & Pick<LoadOptions, "loadFormat" | "tokenizer"> {
  if (shape === undefined && loadFormat !== "dummy") return { source: model ?? defaultModel() };
  if (shape !== undefined && model !== undefined) {
    throw new InvalidRequestError("--shape", `the model is ${model} already. Leave one of them out.`);
  }
  const asked = shape ?? model ?? sproutFolder();
  const source = basename(asked) === "config.json" ? dirname(asked) : asked;
  const isOwn = existsSync(join(source, "tokenizer.json"));
  return { source, loadFormat: "dummy", tokenizer: tokenizer ?? (isOwn ? undefined : sproutFolder()) };
}
