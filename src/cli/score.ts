import type { Command } from "commander";
import { allBlocks } from "../engine/runner.ts";
import { InvalidRequestError } from "../errors.ts";
import type { Scores } from "../runner/model-runner.ts";
import { type OpenedRunner, withModel, withRunner } from "./open-runner.ts";
import { type ModelOptions, modelOptions } from "./options.ts";
import { readTokens } from "./token-file.ts";
import { checkWritable, writeTensors } from "./write-tensors.ts";

interface ScoreOptions extends ModelOptions {
  readonly model: string;
  readonly tokens: string;
  readonly out: string;
  readonly hidden?: boolean;
}

export function addScore(program: Command): void {
  const command = program
    .command("score")
    .description("Write the logits of every position of a token sequence, to compare with another implementation.")
    .requiredOption("--model <model>", "the model's folder or URL")
    .requiredOption("--tokens <file>", "a JSON array of token ids")
    .requiredOption("--out <file>", "the safetensors file to write: logits [T, V] f32")
    .option(
      "--hidden",
      "also hidden [L + 1, T, H] f32 (the embedding, after each layer but the last, after the final norm) and router [L, T, K] i32",
    );
  modelOptions(command, { dtype: "f32", context: "as many as are given" })
    .addHelpText(
      "after",
      `
Examples:
  $ sluice score --model ./model --tokens tokens.json --out scores.safetensors
  $ sluice score --model ./model --tokens tokens.json --out scores.safetensors --hidden --reference`,
    )
    .action(score);
}

/** Rows of one step: with a trace, it keeps what passes between all layers. */
const ROWS_AT_ONCE = 128;

async function score(options: ScoreOptions): Promise<void> {
  await checkWritable(options.out);
  const tokens = await readTokens(options.tokens);
  await withModel(options.model, async (model) => {
    const { vocabularySize: V, hiddenSize: H, topK: K } = model.config;
    const unknown = tokens.find((id) => id >= V);
    if (unknown !== undefined) {
      throw new InvalidRequestError("--tokens", `${unknown} is not a token id; they go from 0 to ${V - 1}.`);
    }
    const context = options.context ?? Math.max(tokens.length, 2);
    const scores = await withRunner(model, { ...options, context }, (opened) => {
      console.error(`On ${opened.device?.name ?? "the CPU reference"}.`);
      return scoreTokens(opened.runner, tokens, options.hidden ?? false);
    });
    const layersIn = (parts: readonly unknown[]) => parts.length / scores.logits.length;
    const T = tokens.length;
    const { logits, hidden, experts } = scores;
    await writeTensors(options.out, [
      { name: "logits", dtype: "F32", shape: [T, V], parts: logits },
      { name: "hidden", dtype: "F32", shape: [layersIn(hidden), T, H], parts: hidden },
      { name: "router", dtype: "I32", shape: [layersIn(experts), T, K], parts: experts },
    ]);
  });
}

/** Scores in parts of some rows each: the logits, and layer by layer what passed between the layers. */
async function scoreTokens(runner: OpenedRunner["runner"], tokens: readonly number[], trace: boolean) {
  const blocks = allBlocks(runner);
  const steps: Scores[] = [];
  for (let position = 0; position < tokens.length; position += ROWS_AT_ONCE) {
    const step = { tokens: tokens.slice(position, position + ROWS_AT_ONCE), position, slot: 0, blocks };
    steps.push(await runner.score(step, trace));
  }
  const byLayer = <T>(of: (step: Scores) => readonly T[]): T[] =>
    of(steps[0]).flatMap((_, layer) => steps.map((step) => of(step)[layer]));
  return {
    logits: steps.map((step) => step.logits),
    hidden: byLayer((step) => step.hidden),
    experts: byLayer((step) => step.experts),
  };
}
