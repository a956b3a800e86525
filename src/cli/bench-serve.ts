import { writeFile } from "node:fs/promises";
import { type Command, InvalidArgumentError, Option } from "commander";
import { LLMError } from "../errors.ts";
import { benchTable, summarize } from "./bench-serve-report.ts";
import { type Target, type TimedRequest, timeRequest } from "./bench-serve-request.ts";
import { number, wholeNumber } from "./options.ts";

interface BenchServeOptions {
  readonly baseUrl: string;
  readonly backend: "openai" | "openai-chat";
  readonly model?: string;
  readonly apiKey?: string;
  readonly numPrompts: number;
  readonly requestRate: number;
  readonly maxConcurrency?: number;
  readonly randomInputLen: number;
  readonly randomOutputLen: number;
  readonly randomPrefixLen: number;
  readonly seed: number;
  readonly ignoreEos?: boolean;
  readonly json?: boolean;
  readonly saveResult?: string;
}

export function addBenchServe(bench: Command): void {
  bench
    .command("serve")
    .description(
      "Measure a server that speaks OpenAI's interface, any of them, and print the table of `vllm bench serve`.",
    )
    .option("--base-url <url>", "where it is", "http://127.0.0.1:8000")
    .addOption(
      new Option("--backend <kind>", "completions, or chat completions")
        .choices(["openai", "openai-chat"])
        .default("openai"),
    )
    .option("--model <name>", "the model to ask for (default: the first that the server has)")
    .option("--api-key <key>", "also OPENAI_API_KEY")
    .option("--num-prompts <count>", "requests in all", wholeNumber(1), 100)
    .option(
      "--request-rate <rate>",
      "requests a second, at random moments; inf sends all at once",
      rate,
      Number.POSITIVE_INFINITY,
    )
    .option("--max-concurrency <count>", "requests under way at most", wholeNumber(1))
    .option("--random-input-len <tokens>", "length of prompts", wholeNumber(1), 1024)
    .option("--random-output-len <tokens>", "length of replies", wholeNumber(1), 128)
    .option("--random-prefix-len <tokens>", "tokens that all prompts begin with, besides", wholeNumber(0), 0)
    .option("--seed <number>", "the same seed gives the same prompts and moments", wholeNumber(0), 0)
    .option("--ignore-eos", "ask for replies of the full length")
    .option("--json", "one JSON object instead of the table")
    .option("--save-result <file>", "also write that object to a file")
    .addHelpText(
      "after",
      `
Examples:
  $ sluice bench serve --num-prompts 64 --max-concurrency 16 --random-input-len 512 --ignore-eos
  $ sluice bench serve --base-url http://gpu:8000 --backend openai-chat --request-rate 4`,
    )
    .action((_, command: Command) => benchServe(command.optsWithGlobals()));
}

async function benchServe(options: BenchServeOptions): Promise<void> {
  const { backend, randomOutputLen, numPrompts, requestRate, maxConcurrency, seed } = options;
  const base = options.baseUrl.replace(/\/+$/, "").replace(/\/v1$/, "");
  const apiKey = options.apiKey ?? process.env.OPENAI_API_KEY;
  const isChat = backend === "openai-chat";
  const target: Target = {
    url: `${base}/v1/${isChat ? "chat/" : ""}completions`,
    model: options.model ?? (await firstModel(base, apiKey)),
    isChat,
    apiKey,
    ignoreEos: options.ignoreEos ?? false,
  };
  const random = randomNumbers(seed);
  const prompts = await makePrompts(base, target, options, random);
  // What is compiled or allocated by the first request is not measured; the server's own is as good as this.
  const first = await timeRequest(target, prompts[0], Math.min(8, randomOutputLen));
  if (first.error !== undefined) throw new LLMError(`The server does not answer as it should: ${first.error}`);
  console.error(`${numPrompts} requests to ${target.url} for ${target.model} …`);
  const start = performance.now();
  const requests = await sendAll(prompts.slice(1), { requestRate, maxConcurrency, random }, (prompt) =>
    timeRequest(target, prompt, randomOutputLen),
  );
  const summary = summarize({ requests, durationMs: performance.now() - start, requestRate, maxConcurrency });
  const json = JSON.stringify({ backend, model_id: target.model, num_prompts: numPrompts, ...summary }, undefined, 2);
  if (options.saveResult !== undefined) await writeFile(options.saveResult, `${json}\n`);
  console.log(options.json ? json : benchTable(summary));
  const failure = requests.find(({ error }) => error !== undefined);
  if (failure) throw new LLMError(`${summary.failed} requests failed; the first with ${failure.error}`);
}

async function firstModel(base: string, apiKey: string | undefined): Promise<string> {
  const response = await fetch(`${base}/v1/models`, {
    headers: apiKey ? { Authorization: `Bearer ${apiKey}` } : {},
  }).catch((error: Error) => {
    throw new LLMError(
      `There is no server at ${base}: ${(error.cause as Error | undefined)?.message ?? error.message}`,
    );
  });
  const body = (await response.json().catch(() => ({}))) as { data?: { id: string }[] };
  const id = body.data?.[0]?.id;
  if (id === undefined)
    throw new LLMError(`${base}/v1/models answers ${response.status} and names no model; give --model.`);
  return id;
}

interface Prompt {
  readonly text: string;
  readonly tokens: number;
}

/** One prompt more than asked for, for the first request. Where the server counts tokens for us, they have the length asked for. */
async function makePrompts(
  base: string,
  { model, apiKey }: Target,
  { numPrompts, randomInputLen, randomPrefixLen }: BenchServeOptions,
  random: () => number,
): Promise<Prompt[]> {
  const words = (count: number) =>
    Array.from({ length: count }, () => WORDS[Math.floor(random() * WORDS.length)]).join(" ");
  const post = async (path: string, body: object): Promise<Record<string, unknown> | undefined> => {
    const headers = { "Content-Type": "application/json", ...(apiKey && { Authorization: `Bearer ${apiKey}` }) };
    const response = await fetch(base + path, { method: "POST", headers, body: JSON.stringify({ model, ...body }) });
    return response.ok ? response.json() : undefined;
  };
  const prefix = words(randomPrefixLen);
  const cut = async (text: string, tokens: number): Promise<Prompt> => {
    const ids = (await post("/tokenize", { prompt: text, add_special_tokens: false }))?.tokens as number[] | undefined;
    const back = ids && (await post("/detokenize", { tokens: ids.slice(0, tokens) }))?.prompt;
    return typeof back === "string" ? { text: back, tokens: Math.min(tokens, ids!.length) } : { text, tokens };
  };
  const prompts: Prompt[] = [];
  for (let i = 0; i <= numPrompts; i++) {
    const text = words(randomInputLen);
    prompts.push(await cut(prefix === "" ? text : `${prefix} ${text}`, randomPrefixLen + randomInputLen));
  }
  return prompts;
}

/** Common words, most of them one token; there is no more to say about what a benchmark reads. */
const WORDS =
  "time year people way day man thing woman life child world school state family student group country problem hand part place case week company system program question work number night point home water room mother area money story fact month lot right study book eye job word business issue side kind head house service friend father power hour game line end member law car city name".split(
    " ",
  );

/** Sends in order, each when its moment has come and another may be under way. */
async function sendAll(
  prompts: readonly Prompt[],
  when: { requestRate: number; maxConcurrency?: number; random: () => number },
  send: (prompt: Prompt) => Promise<TimedRequest>,
): Promise<TimedRequest[]> {
  const { requestRate, maxConcurrency = Number.POSITIVE_INFINITY, random } = when;
  const results: Promise<TimedRequest>[] = [];
  const underWay = new Set<Promise<unknown>>();
  let dueMs = performance.now();
  for (const prompt of prompts) {
    // Arrivals of a Poisson process.
    if (Number.isFinite(requestRate)) dueMs += (-1000 * Math.log(1 - random())) / requestRate;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
    while (underWay.size >= maxConcurrency) await Promise.race(underWay);
    const result = send(prompt);
    results.push(result);
    const done = result.finally(() => underWay.delete(done));
    underWay.add(done);
  }
  return Promise.all(results);
}

/** Marsaglia's xorshift, enough for words and moments. */
function randomNumbers(seed: number): () => number {
  let state = (seed + 0x9e3779b9) >>> 0 || 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

function rate(text: string): number {
  if (text === "inf") return Number.POSITIVE_INFINITY;
  const value = number(text);
  if (value > 0) return value;
  throw new InvalidArgumentError("A number above zero, or inf, is wanted.");
}
