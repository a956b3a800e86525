import { readFile } from "node:fs/promises";
import { type Command, InvalidArgumentError } from "commander";
import type { LoadOptions } from "../api/types.ts";
import { InvalidRequestError, LLMError } from "../errors.ts";
import { type LanguageModel, LLM } from "../node.ts";
import type { LLMServer } from "../server.ts";
import { type GpuChoice, gpuOptions, loadOnGpus, wantedGpus } from "./gpus.ts";
import { loadingLine } from "./loading-line.ts";
import { cacheOption, type ModelOptions, number, weightOptions, wholeNumber } from "./options.ts";
import { packageVersion, sproutFolder } from "./package.ts";
import { countText } from "./text.ts";

/** What `sluice serve` was asked for; every spelling of an option ends as one of these. */
export interface ServeOptions extends Omit<ModelOptions, "context">, GpuChoice {
  readonly host: string;
  readonly port: number;
  readonly apiKey?: readonly string[];
  readonly apiKeyFile?: string;
  readonly servedModelName?: readonly string[];
  readonly strictModel?: boolean;
  readonly maxModelLen?: number;
  readonly maxNumSeqs: number;
  readonly kvCacheTokens?: number;
  readonly maxNumQueuedReqs: number;
  readonly maxNumQueuedTokens?: number;
  readonly maxRequestsPerKey?: number;
  readonly maxBodyMib: number;
  readonly allowedOrigins?: readonly string[];
  readonly defaultChatTemplateKwargs?: Readonly<Record<string, unknown>>;
  readonly heartbeat: number;
  readonly shutdownTimeout: number;
}

export function addServe(program: Command): void {
  const command = program
    .command("serve [model]")
    .description("Serve a model over HTTP, as OpenAI, Anthropic and SGLang do.")
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <number>", "port; 0 leaves it to the system", wholeNumber(0), 8000)
    .option("--api-key <keys...>", "keys of which a request must bring one; also SLUICE_API_KEY or VLLM_API_KEY")
    .option("--api-key-file <path>", "a file of keys, one a line")
    .option("--served-model-name <names...>", "what the model is called; replies carry the first name")
    .option("--strict-model", "answer 404 to requests for a model of another name")
    .option("--max-model-len <tokens>", "tokens of prompt and reply together, such as 32768 or 32k", tokenCount)
    .option("--max-num-seqs <count>", "replies written at once; each takes memory for its state", wholeNumber(1), 16)
    .option(
      "--kv-cache-tokens <tokens>",
      "tokens of all replies together (default: four contexts, up to 64k)",
      tokenCount,
    )
    .option("--max-num-queued-reqs <count>", "replies that may wait; further requests get 503", wholeNumber(0), 512)
    .option("--max-num-queued-tokens <count>", "tokens of their prompts (default: no limit)", wholeNumber(0))
    .option("--max-requests-per-key <count>", "replies of one client; further requests get 429", wholeNumber(1))
    .option("--max-body-mib <size>", "size of a request", number, 64)
    .option("--allowed-origins <origins...>", "whose pages may ask (default: all)")
    .option("--default-chat-template-kwargs <json>", "further variables for the chat template", jsonObject)
    .option("--heartbeat <seconds>", "silence after which a stream gets a comment", number, 10)
    .option("--shutdown-timeout <seconds>", "how long replies under way may take after SIGTERM", number, 30)
    .option("--reference", "run on the CPU's plain loops: slow, exact, needs no GPU");
  gpuOptions(cacheOption(weightOptions(command)))
    .addHelpText(
      "after",
      `
Examples:
  $ sluice serve
  $ sluice serve ./Qwen3-Next-80B-A3B-Instruct --port 8000 --max-model-len 32k --quantization q4
  $ sluice serve ./model --gpus 0,1
  $ sluice serve ./model --host 0.0.0.0 --api-key-file keys.txt --served-model-name qwen3-next`,
    )
    .action(serve);
}

async function serve(model = sproutFolder(), options: ServeOptions): Promise<void> {
  // Nothing else needs the server's libraries.
  const { createServer } = await import("../server.ts");
  const keys = await apiKeys(options);
  let load!: () => void;
  // An address that is taken should be told before a model is loaded for minutes.
  const isListening = new Promise<void>((resolve) => {
    load = resolve;
  });
  const llm = isListening.then(() => loadModel(model, options));
  const server = createServer(llm, {
    servedModelNames: options.servedModelName,
    strictModel: options.strictModel,
    apiKeys: keys,
    allowedOrigins: options.allowedOrigins,
    maxBodyBytes: options.maxBodyMib * 2 ** 20,
    maxRequests: options.maxNumSeqs * (wantedGpus(options)?.length ?? 1) + options.maxNumQueuedReqs,
    maxRequestsPerClient: options.maxRequestsPerKey,
    templateVariables: options.defaultChatTemplateKwargs,
    heartbeatMs: options.heartbeat * 1000,
    version: packageVersion(),
  });
  const closed = closeOnSignal(server, options.shutdownTimeout * 1000);
  try {
    const url = await server.listen(options).catch((error: Error) => {
      throw new LLMError(
        `Cannot listen on ${options.host}, port ${options.port}: ${error.message}. Try another --port.`,
      );
    });
    load();
    console.error(`Listening on ${url}; the model is being loaded.`);
    await server.ready();
    const { info } = await llm;
    const { maxContext, cacheTokens, maxSequences } = info;
    console.error(`GPU KV cache size: ${cacheTokens} tokens; ${maxSequences} replies at once`);
    console.error(
      `Maximum concurrency for ${maxContext} tokens per request: ${(cacheTokens / maxContext).toFixed(2)}x`,
    );
    console.error("Application startup complete.");
    console.error(`Sluice serves ${model} on ${url}/v1${keys.length > 0 ? ", with API keys" : ""}. Ctrl-C stops it.`);
    if (keys.length === 0 && !["127.0.0.1", "localhost", "::1"].includes(options.host)) {
      console.error("Anybody who reaches this address can use it; --api-key asks for a key.");
    }
    await closed;
    await (await llm).dispose();
  } finally {
    await server.close({ timeoutMs: 0 });
  }
}

async function loadModel(model: string, options: ServeOptions): Promise<LanguageModel> {
  const { adapter, dtype, precise, reference, quantization, maxModelLen, maxNumSeqs, maxNumQueuedTokens } = options;
  const gpus = wantedGpus(options);
  const loadOptions: LoadOptions = {
    device: { adapter, dtype, precise, reference },
    quantization,
    maxContext: maxModelLen,
    maxSequences: maxNumSeqs,
    cacheTokens: options.kvCacheTokens ?? Math.min(4 * (maxModelLen ?? DEFAULT_CONTEXT), 2 ** 16),
    queue: { maxWaitingTokens: maxNumQueuedTokens },
    onProgress: loadingLine(),
  };
  const llm = await (gpus ? loadOnGpus(model, gpus, loadOptions) : LLM.load(model, loadOptions));
  const { info } = llm;
  console.error(`${info.label}: ${countText(info.parameters)} parameters; ${info.adapter.name}, ${info.adapter.dtype}`);
  return llm;
}

/** Of a model that is loaded without being told. */
const DEFAULT_CONTEXT = 4096;

/** Settles when the first signal has been obeyed. A second one ends the process at once. */
function closeOnSignal(server: LLMServer, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let isSecond = false;
    const stop = () => {
      // While the model is being loaded, nobody waits for an answer.
      if (isSecond || server.state === "loading") process.exit(130);
      isSecond = true;
      console.error("Stopping: no further requests are taken.");
      server.close({ timeoutMs }).then(resolve, reject);
    };
    process.on("SIGTERM", stop);
    process.on("SIGINT", stop);
  });
}

async function apiKeys({ apiKey, apiKeyFile }: ServeOptions): Promise<string[]> {
  const fromEnvironment = [process.env.SLUICE_API_KEY, process.env.VLLM_API_KEY].filter((key) => key !== undefined);
  const given = apiKey ?? (apiKeyFile === undefined ? fromEnvironment : []);
  const inFile = apiKeyFile === undefined ? [] : (await readKeys(apiKeyFile)).split(/\r?\n/);
  const keys = [...given, ...inFile].map((key) => key.trim()).filter((key) => key !== "" && !key.startsWith("#"));
  if (apiKeyFile !== undefined && keys.length === 0) {
    throw new InvalidRequestError("--api-key-file", `${apiKeyFile} holds no key.`);
  }
  return keys;
}

const readKeys = (path: string): Promise<string> =>
  readFile(path, "utf8").catch((error: Error) => {
    throw new InvalidRequestError("--api-key-file", `${path} cannot be read: ${error.message}.`);
  });

/** 32768, 32k (thousands of 1024), 1m. */
function tokenCount(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)([km]?)$/i.exec(text.trim()) ?? [];
  if (digits === undefined) throw new InvalidArgumentError("A number of tokens is wanted, such as 32768 or 32k.");
  return wholeNumber(2)(
    String(Number(digits) * { k: 1024, m: 1024 ** 2, "": 1 }[unit.toLowerCase() as "k" | "m" | ""]),
  );
}

function jsonObject(text: string): Record<string, unknown> {
  try {
    const value = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {}
  throw new InvalidArgumentError('A JSON object is wanted, such as {"enable_thinking": false}.');
}
