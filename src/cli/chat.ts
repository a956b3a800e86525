import { readFile } from "node:fs/promises";
import { createInterface, type Interface } from "node:readline/promises";
import { stripVTControlCharacters } from "node:util";
import type { Command } from "commander";
import type { ChatParams, Tool } from "../api/types.ts";
import { InvalidRequestError, LLMError } from "../errors.ts";
import { Conversation } from "./conversation.ts";
import { type DummyChoice, dummyOptions, modelAsked } from "./dummy.ts";
import { loadLLM } from "./load.ts";
import {
  cacheOption,
  fastOption,
  type ModelOptions,
  modelOptions,
  type SamplingOptions,
  samplingOptions,
  samplingParams,
  wholeNumber,
} from "./options.ts";

interface ChatOptions extends ModelOptions, SamplingOptions, DummyChoice {
  readonly system?: string;
  readonly tools?: string;
  readonly thinking: boolean;
  readonly thinkingBudget?: number;
}

export function addChat(program: Command): void {
  const command = program
    .command("chat [model]")
    .description("Chat in the terminal. Where standard input is a pipe, each of its lines is a message.")
    .option("--system <text>", "a system prompt")
    .option("--tools <file>", "functions the model may call: a JSON array, as OpenAI writes them")
    .option("--no-thinking", "answer without thinking first")
    .option("--thinking-budget <tokens>", "tokens of thinking at most", wholeNumber(0));
  dummyOptions(fastOption(cacheOption(modelOptions(samplingOptions(command)))))
    .addHelpText(
      "after",
      `
Examples:
  $ sluice chat
  $ sluice chat ./model --quantization q4 --system "Answer in one sentence."
  $ printf 'Hello!\\nAnd who are you?\\n' | sluice chat --seed 7`,
    )
    .action(chat);
}

async function chat(model: string | undefined, options: ChatOptions): Promise<void> {
  const tools = options.tools === undefined ? undefined : await readTools(options.tools);
  const { source, ...dummy } = modelAsked(model, options);
  const llm = await loadLLM(source, options, dummy);
  const isTerminal = Boolean(process.stdin.isTTY && process.stdout.isTTY);
  const write = (text: string) => process.stdout.write(isTerminal ? text : stripVTControlCharacters(text));
  const params: ChatParams = {
    ...samplingParams(options),
    ...(options.thinking ? {} : { thinking: false }),
    thinkingBudget: options.thinkingBudget,
    tools,
  };
  const conversation = new Conversation(llm, params, options.system, write);
  const lines = createInterface({ input: process.stdin, output: isTerminal ? process.stdout : undefined });
  const prompt = () => isTerminal && lines.prompt();
  try {
    if (isTerminal) console.error("/help lists commands. Ctrl-C stops a reply, and once more leaves.\n");
    leaveOnSecondInterrupt(lines, conversation);
    prompt();
    for await (const line of lines) {
      const goesOn = await conversation.take(line).catch((error: unknown) => {
        // A person can try something else; a script should know.
        if (!isTerminal || !(error instanceof LLMError)) throw error;
        console.error(`sluice: ${error.message}`);
        return true;
      });
      if (!goesOn) break;
      prompt();
    }
  } finally {
    lines.close();
    await llm.dispose();
  }
}

async function readTools(file: string): Promise<Tool[]> {
  const tools: unknown = await readFile(file, "utf8").then(JSON.parse, (error: Error) => error);
  const isTool = (tool: Tool | undefined) => typeof tool?.function?.name === "string";
  if (Array.isArray(tools) && tools.every(isTool)) return tools;
  const trouble = tools instanceof Error ? tools.message : "it is no array of functions with names.";
  throw new InvalidRequestError("tools", `${file} cannot be used: ${trouble}`);
}

/** Ctrl-C stops the reply under way. When nothing has been said since, the next one leaves. */
function leaveOnSecondInterrupt(lines: Interface, conversation: Conversation): void {
  let isSecond = false;
  const interrupt = () => {
    const hasStopped = conversation.stop();
    if (isSecond) return lines.close();
    isSecond = true;
    if (hasStopped) return;
    console.error("\nCtrl-C once more leaves.");
    lines.prompt();
  };
  lines.on("line", () => {
    isSecond = false;
  });
  // A terminal's Ctrl-C comes as a key, any other as a signal.
  lines.on("SIGINT", interrupt);
  process.on("SIGINT", interrupt);
  lines.once("close", () => process.off("SIGINT", interrupt));
}
