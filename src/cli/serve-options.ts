import { type Command, InvalidArgumentError, Option } from "commander";
import type { LogLevel } from "../server/log.ts";
import { type DummyChoice, dummyOptions } from "./dummy.ts";
import { type GpuChoice, gpuOptions } from "./gpus.ts";
import { cacheOption, fastOption, type ModelOptions, number, weightOptions, wholeNumber } from "./options.ts";

/** What `sluice serve` was asked for; every spelling of an option ends as one of these. */
export interface ServeOptions extends Omit<ModelOptions, "context">, GpuChoice, DummyChoice {
  readonly host: string;
  readonly port: number;
  readonly uds?: string;
  readonly sslCertfile?: string;
  readonly sslKeyfile?: string;
  readonly sslCaCerts?: string;
  readonly apiKey?: readonly string[];
  readonly apiKeyFile?: string;
  readonly allowedOrigins?: readonly string[];
  readonly servedModelName?: readonly string[];
  readonly strictModel?: boolean;
  readonly maxModelLen?: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens?: number;
  readonly kvCacheTokens?: number;
  readonly cacheHostGib?: number;
  readonly gpuMemoryUtilization?: number;
  readonly maxNumQueuedReqs: number;
  readonly maxNumQueuedTokens?: number;
  readonly maxRequestsPerKey?: number;
  readonly maxStateMibPerKey: number;
  readonly maxBodyMib: number;
  readonly hfOverrides?: JsonObject;
  readonly speculativeConfig?: JsonObject;
  readonly defaultChatTemplateKwargs?: JsonObject;
  readonly heartbeat: number;
  readonly shutdownTimeout: number;
  readonly logFormat: "json" | "pretty";
  readonly logLevel: LogLevel;
  readonly logRequests?: boolean;
  readonly disableLogStats?: boolean;
  readonly warmup: boolean;
  readonly dryRun?: boolean;
}

export type JsonObject = Readonly<Record<string, unknown>>;

export function serveOptions(command: Command, port: number): Command {
  command
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <number>", "port; 0 leaves it to the system", wholeNumber(0), port)
    .option("--uds <path>", "a Unix socket to listen on instead")
    .option("--ssl-certfile <path>", "speak HTTPS with this certificate (PEM); SIGHUP reads it anew")
    .option("--ssl-keyfile <path>", "and its key")
    .option("--ssl-ca-certs <path>", "and want certificates of clients, signed by one of these")
    .option("--api-key <keys...>", "keys of which a request must bring one; also SLUICE_API_KEY or VLLM_API_KEY")
    .option("--api-key-file <path>", "a file of keys, one a line")
    .option("--allowed-origins <origins...>", "whose pages may ask, besides this machine's; * for all")
    .option("--served-model-name <names...>", "what the model is called; replies carry the first name")
    .option("--strict-model", "answer 404 to requests for a model of another name")
    .option("--max-model-len <tokens>", "tokens of prompt and reply together, such as 32768 or 32k", tokenCount)
    .option("--max-num-seqs <count>", "replies written at once; each takes memory for its state", wholeNumber(1), 16)
    .option(
      "--max-num-batched-tokens <tokens>",
      "tokens of one step that reads prompts (default: 512, or 4096 on GPUs that multiply matrices)",
      tokenCount,
    )
    .option(
      "--kv-cache-tokens <tokens>",
      "tokens of all replies together (default: four contexts, up to 64k)",
      tokenCount,
    )
    .option(
      "--cache-host-gib <size>",
      "host memory for states of earlier requests that the device has no room for",
      number,
    )
    .option("--gpu-memory-utilization <share>", "fill this share of the device's memory with KV cache instead", share)
    .option("--max-num-queued-reqs <count>", "replies that may wait; further requests get 503", wholeNumber(0), 512)
    .option("--max-num-queued-tokens <count>", "tokens of their prompts (default: no limit)", wholeNumber(0))
    .option("--max-requests-per-key <count>", "replies of one client; further requests get 429", wholeNumber(1))
    .option("--max-state-mib-per-key <size>", "device memory for states of pages that run layers here", number, 1024)
    .option("--max-body-mib <size>", "size of a request", number, 64)
    .option("--hf-overrides <json>", "fields of config.json to replace, such as rope_parameters for YaRN", merged)
    .option("--speculative-config <json>", "checked, and without effect: speculation is not built yet", merged)
    .option("--default-chat-template-kwargs <json>", "further variables for the chat template", jsonObject)
    .option("--heartbeat <seconds>", "silence after which a stream gets a comment", number, 10)
    .option("--shutdown-timeout <seconds>", "how long replies under way may take after SIGTERM", number, 30)
    .addOption(
      new Option("--log-format <format>", "lines for people, or for programs")
        .choices(["pretty", "json"])
        .default("pretty"),
    )
    .addOption(
      new Option("--log-level <level>", "what is logged; debug adds probes")
        .choices(["debug", "info", "warn", "error"])
        .default("info"),
    )
    .option("--log-requests", "log what requests hold: prompts are people's own, so think twice")
    .option("--disable-log-stats", "no line about throughput every ten seconds")
    .option(
      "--no-warmup",
      "be ready before all kernels are compiled; the first request of a kind then waits for its own",
    )
    .option("--config <file>", "a YAML or JSON file of these options")
    .option("--dry-run", "say what memory it would take, and end")
    .option("--reference", "run on the CPU's plain loops: slow, exact, needs no GPU");
  return dummyOptions(gpuOptions(fastOption(cacheOption(weightOptions(command)))));
}

/** 32768, 32k (thousands of 1024), 1m. */
function tokenCount(text: string): number {
  const [, digits, unit] = /^(\d+(?:\.\d+)?)([km]?)$/i.exec(text.trim()) ?? [];
  if (digits === undefined) throw new InvalidArgumentError("A number of tokens is wanted, such as 32768 or 32k.");
  return wholeNumber(2)(
    String(Number(digits) * { k: 1024, m: 1024 ** 2, "": 1 }[unit.toLowerCase() as "k" | "m" | ""]),
  );
}

function share(text: string): number {
  const value = number(text);
  if (value > 0 && value <= 1) return value;
  throw new InvalidArgumentError("A share is wanted, such as 0.9.");
}

function jsonObject(text: string): JsonObject {
  try {
    const value = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch {}
  throw new InvalidArgumentError('A JSON object is wanted, such as {"enable_thinking": false}.');
}

/** What is given in several pieces, whose inner objects are merged. */
function merged(text: string, before: JsonObject = {}): JsonObject {
  const isObject = (value: unknown): value is JsonObject => typeof value === "object" && value !== null;
  const entries = Object.entries(jsonObject(text)).map(([key, value]) => {
    const old = before[key];
    return [key, isObject(old) && isObject(value) ? { ...old, ...value } : value];
  });
  return { ...before, ...Object.fromEntries(entries) };
}
