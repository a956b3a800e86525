import { Command, CommanderError } from "commander";
import { LLMError } from "../errors.ts";
import { addBench } from "./bench.ts";
import { addCache } from "./cache.ts";
import { addChat } from "./chat.ts";
import { addDevices } from "./devices.ts";
import { addGenerate } from "./generate.ts";
import { addInspect } from "./inspect.ts";
import { addPack } from "./pack.ts";
import { packageVersion } from "./package.ts";
import { addScore } from "./score.ts";
import { addServe } from "./serve.ts";

/** Runs a command line and gives its exit code: 0, 1 for what went wrong, 2 for a command line that makes no sense. */
export async function run(args: readonly string[]): Promise<number> {
  // Whoever reads the output may have seen enough, as `head` does.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));
  const program = sluice();
  try {
    await program.parseAsync(args, { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    console.error(describe(error, program.opts<{ debug?: boolean }>().debug ?? false));
    return 1;
  }
}

function sluice(): Command {
  const program = new Command("sluice")
    .description("Run Qwen3-Next language models on WebGPU.")
    .version(packageVersion())
    .option("--debug", "show where an error came from")
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .configureOutput({ writeErr: (text) => process.stderr.write(text.replace(/^error: /, "sluice: ")) })
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText(
      "after",
      `
A model is the folder of a Hugging Face checkpoint, a .gguf, the URL of either,
or hf:owner/name. Where none is given it is Sprout, a small model that comes
with the package.

Examples:
  $ sluice chat
  $ sluice generate --prompt "Once upon a time" --max-tokens 100
  $ sluice inspect ./Qwen3-Next-80B-A3B-Instruct --quantization q4
  $ sluice <command> --help`,
    );
  for (const add of [addChat, addGenerate, addPack, addServe, addScore, addInspect, addBench, addDevices, addCache])
    add(program);
  return program;
}

function describe(error: unknown, debug: boolean): string {
  if (!(error instanceof Error)) return `sluice: ${error}`;
  if (debug)
    return `sluice: ${error.stack}${error.cause ? `\nbecause of ${(error.cause as Error).stack ?? error.cause}` : ""}`;
  return `sluice: ${error.message}${error instanceof LLMError ? "" : " (--debug shows where.)"}`;
}
