import type { Command } from "commander";
import { interruptSignal } from "./interrupt.ts";
import { loadLLM } from "./load.ts";
import {
  cacheOption,
  type ModelOptions,
  modelOptions,
  type SamplingOptions,
  samplingOptions,
  samplingParams,
} from "./options.ts";
import { defaultModel } from "./package.ts";
import { readTokens } from "./token-file.ts";

interface GenerateOptions extends ModelOptions, SamplingOptions {
  readonly prompt?: string;
  readonly tokens?: string;
  readonly json?: boolean;
}

export function addGenerate(program: Command): void {
  const command = program
    .command("generate [model]")
    .description("Continue a text, or a list of token ids, as it is.")
    .option("--prompt <text>", "the text to continue; - reads it from standard input")
    .option("--tokens <file>", "a JSON array of token ids to continue")
    .option("--json", "one JSON object: text, tokenIds, finishReason, usage, adapter");
  cacheOption(modelOptions(samplingOptions(command)))
    .addHelpText(
      "after",
      `
Examples:
  $ sluice generate --prompt "The lighthouse keeper" --max-tokens 60
  $ sluice generate ./model --tokens ids.json --temperature 0 --json
  $ cat story.txt | sluice generate ./model --prompt - --seed 7 --stop "The end"`,
    )
    .action(generate);
}

async function generate(source = defaultModel(), options: GenerateOptions, command: Command): Promise<void> {
  if ((options.prompt === undefined) === (options.tokens === undefined)) {
    command.error("error: give either --prompt TEXT or --tokens FILE");
  }
  const prompt = options.tokens === undefined ? await promptText(options.prompt!) : await readTokens(options.tokens);
  const llm = await loadLLM(source, options);
  try {
    const reply = llm.generate(prompt, { ...samplingParams(options), signal: interruptSignal() });
    for await (const event of reply) {
      if (event.kind === "text" && !options.json) process.stdout.write(event.text);
    }
    const { text, tokenIds, reason: finishReason, usage } = await reply.finish();
    const { name } = llm.info.adapter;
    if (options.json) console.log(JSON.stringify({ text, tokenIds, finishReason, usage, adapter: name }, undefined, 2));
    // Without a tokenizer there is no text.
    else console.log(text === "" ? tokenIds.join(" ") : "");
    if (finishReason === "abort") process.exitCode = 130;
  } finally {
    await llm.dispose();
  }
}

async function promptText(prompt: string): Promise<string> {
  if (prompt !== "-") return prompt;
  let text = "";
  for await (const part of process.stdin.setEncoding("utf8")) text += part;
  return text;
}
