import { type Command, InvalidArgumentError, Option } from "commander";
import type { GenerateParams, Quantization } from "../api/types.ts";

/** Options of every command that loads a model. */
export interface ModelOptions {
  readonly adapter?: string;
  readonly dtype: "auto" | "f32" | "f16";
  readonly precise?: boolean;
  readonly quantization: Quantization;
  readonly context?: number;
  readonly memory?: string;
  readonly reference?: boolean;
  /** False: a model of the network is read anew each time. */
  readonly cache?: boolean;
  /** Leave out the checks that browsers make. */
  readonly fast?: boolean;
}

export function modelOptions(
  command: Command,
  { context = "the model's, at most 4096", ...defaults }: { context?: string; dtype?: ModelOptions["dtype"] } = {},
): Command {
  return weightOptions(command, defaults)
    .option("--context <tokens>", `tokens of prompt and reply together (default: ${context})`, wholeNumber(2))
    .option("--reference", "run on the CPU's plain loops: slow, exact, needs no GPU");
}

/** For commands that keep what they get from the network. */
export const cacheOption = (command: Command): Command =>
  command.option("--no-cache", "keep nothing of a model from the network; `sluice cache ls` lists what is kept");

/** What a model is loaded to, and where. */
export function weightOptions(command: Command, { dtype = "auto" }: { dtype?: ModelOptions["dtype"] } = {}): Command {
  return command
    .option("--adapter <name>", "part of the adapter's name; `sluice devices` lists them")
    .addOption(
      new Option("--dtype <type>", "numbers to compute with; f32 is exact")
        .choices(["auto", "f32", "f16"])
        .default(dtype),
    )
    .option(
      "--precise",
      "keep activations in f32 where they would be rounded to go faster; the KV cache stays as --dtype has it",
    )
    .addOption(
      new Option("--quantization <format>", "what weights become; auto keeps them as they are")
        .choices(["auto", "f32", "f16", "bf16", "q8", "q4a", "q4"])
        .default("auto"),
    )
    .option(
      "--memory <budget>",
      "device memory to take, such as 4GB, or the share of experts to hold there, such as 25%; the rest is read when needed",
    );
}

export const fastOption = (command: Command): Command =>
  command.option("--fast", "leave out the checks that browsers make (bounds, validation)");

/** Options named like the fields of `SamplingParams`, which they become. */
export type SamplingOptions = Pick<
  GenerateParams,
  | "maxTokens"
  | "temperature"
  | "topP"
  | "topK"
  | "minP"
  | "presencePenalty"
  | "frequencyPenalty"
  | "repetitionPenalty"
  | "seed"
  | "stop"
>;

export function samplingOptions(command: Command): Command {
  return command
    .option("--max-tokens <count>", "tokens to generate at most", wholeNumber(1))
    .option("--temperature <number>", "0 is greedy (default: as the model asks, else 1)", number)
    .option("--top-p <share>", "keep the likeliest tokens that reach this probability together", number)
    .option("--top-k <count>", "keep so many of the likeliest tokens", wholeNumber(0))
    .option("--min-p <share>", "drop tokens less likely than this share of the likeliest", number)
    .option("--presence-penalty <number>", "subtracted once from tokens that the reply holds", number)
    .option("--frequency-penalty <number>", "subtracted for each time that the reply holds a token", number)
    .option("--repetition-penalty <number>", "divides logits of tokens in prompt or reply", number)
    .option("--seed <number>", "the same seed gives the same reply (default: random)", wholeNumber(0))
    .option("--stop <text>", "end the reply before this text; may be repeated", (text, all: string[] = []) => [
      ...all,
      text,
    ]);
}

/** The sampling options among a command's options. */
export function samplingParams(options: SamplingOptions): SamplingOptions {
  const { maxTokens, temperature, topP, topK, minP, presencePenalty, frequencyPenalty, repetitionPenalty, seed, stop } =
    options;
  return { maxTokens, temperature, topP, topK, minP, presencePenalty, frequencyPenalty, repetitionPenalty, seed, stop };
}

/** Parses a whole number of at least `least`. */
export const wholeNumber =
  (least: number) =>
  (text: string): number => {
    const value = number(text);
    if (!Number.isSafeInteger(value) || value < least) {
      throw new InvalidArgumentError(`A whole number, at least ${least}, is wanted.`);
    }
    return value;
  };

export function number(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("A number is wanted.");
  return value;
}

/** Whole numbers from 1 on, between commas. */
export const countList = (text: string): number[] => text.split(",").map(wholeNumber(1));
