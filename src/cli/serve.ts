import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { InvalidRequestError, LLMError } from "../errors.ts";
import type { LanguageModel } from "../node.ts";
import { Log, logRequest } from "../server/log.ts";
import type { Tracing } from "../server/tracing.ts";
import type { LLMServer, TlsFiles } from "../server.ts";
import { modelAsked } from "./dummy.ts";
import { wantedGpus } from "./gpus.ts";
import { packageVersion } from "./package.ts";
import { ServeCommand } from "./serve-command.ts";
import { apiKeys } from "./serve-keys.ts";
import { loadServed, modelSource, serveLoadOptions } from "./serve-model.ts";
import { type ServeOptions, serveOptions } from "./serve-options.ts";
import { planServing, planText } from "./serve-plan.ts";
import { bytesText } from "./text.ts";

export function addServe(program: Command): void {
  const description = "Serve a model over HTTP, as OpenAI, Anthropic and SGLang do.";
  const examples = `
Options may be spelled as vLLM, SGLang and llama-server spell them, and each may also stand in
the environment (SLUICE_PORT for --port) or in the file that --config names.

Examples:
  $ sluice serve
  $ sluice serve ./Qwen3-Next-80B-A3B-Instruct --port 8000 --max-model-len 32k --quantization q4
  $ sluice serve Qwen/Qwen3-Next-80B-A3B-Instruct --gpu-memory-utilization 0.9 --dry-run
  $ sluice serve ./model --gpus 0,1
  $ sluice serve ./model --host 0.0.0.0 --api-key-file keys.txt --served-model-name qwen3-next`;
  for (const [name, port] of [
    ["serve", 8000],
    ["launch_server", 30_000],
  ] as const) {
    const command = new ServeCommand(name).argument("[model]").description(description).copyInheritedSettings(program);
    serveOptions(command, port)
      .addHelpText("after", examples)
      .action((model: string | undefined, options: ServeOptions) =>
        serve(model, options, (command as ServeCommand).notes),
      );
    // The second is for command lines written for SGLang.
    program.addCommand(command, { hidden: name !== "serve" });
  }
}

async function serve(model: string | undefined, options: ServeOptions, notes: readonly string[]): Promise<void> {
  const log = logOf(options);
  const { source, ...dummy } = modelAsked(model && modelSource(model), options);
  const load = { ...serveLoadOptions(options), ...dummy };
  for (const note of notes) log.info(note);
  if (options.speculativeConfig)
    log.warn("Speculative decoding is not built yet, and off: replies are the same without it.");
  if (process.env.VLLM_USE_MODELSCOPE)
    log.warn("VLLM_USE_MODELSCOPE has no effect: models come from the Hugging Face Hub.");
  if (dummy.loadFormat) log.warn("Weights are made up: speed and memory are the model's, and replies are noise.");
  else if (options.tokenizer) log.info("--tokenizer has no effect: the model's own is used.");
  const plan =
    options.dryRun || options.gpuMemoryUtilization !== undefined
      ? await planServing(source, load, options.kvCacheTokens === undefined ? options.gpuMemoryUtilization : undefined)
      : undefined;
  if (options.dryRun) return console.log(planText(plan!));
  // Nothing else needs the server's libraries.
  const { createServer } = await import("../server.ts");
  const keys = await apiKeys(options);
  const tracing = await openTracing(log);
  const gpus = wantedGpus(options);
  let begin!: () => void;
  // An address that is taken should be told before a model is loaded for minutes.
  const isListening = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const llm = isListening.then(() =>
    loadServed(source, { ...load, ...(plan && { cacheTokens: plan.cacheTokens }) }, gpus && options, log),
  );
  const server = createServer(llm, {
    servedModelNames: options.servedModelName,
    strictModel: options.strictModel,
    apiKeys: keys,
    allowedOrigins: options.allowedOrigins,
    maxBodyBytes: options.maxBodyMib * 2 ** 20,
    maxRequests: options.maxNumSeqs * (gpus?.length ?? 1) + options.maxNumQueuedReqs,
    maxRequestsPerClient: options.maxRequestsPerKey,
    maxStateBytesPerClient: options.maxStateMibPerKey * 2 ** 20,
    templateVariables: options.defaultChatTemplateKwargs,
    heartbeatMs: options.heartbeat * 1000,
    recordBody: options.logRequests ? BODY_CHARACTERS : 0,
    version: packageVersion(),
    onRequest: (request) => {
      logRequest(log, request);
      tracing?.trace(request);
    },
    onError: (error, requestId) => {
      const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
      log.error(`request ${requestId}: ${stack}`, { requestId });
    },
  });
  const closed = closeOnSignal(server, options.shutdownTimeout * 1000, log);
  try {
    const url = await listen(server, options);
    begin();
    log.info(`Listening on ${url}; the model is being loaded.`);
    await server.ready();
    await sayReady(source, url, await llm, keys.length, options, log);
    const stop = await throughputLines(await llm, options, log);
    notify("READY=1");
    await closed;
    stop();
    await (await llm).dispose();
  } finally {
    await server.close({ timeoutMs: 0 });
    await tracing?.close();
  }
}

/** Of each request, where `--log-requests` asks for what they hold. */
const BODY_CHARACTERS = 2000;

const logOf = ({ logFormat, logLevel }: ServeOptions): Log => new Log({ level: logLevel, format: logFormat });

async function listen(server: LLMServer, options: ServeOptions): Promise<string> {
  const { host, port, uds } = options;
  const tls = await readTls(options);
  if (tls)
    process.on(
      "SIGHUP",
      () => void readTls(options).then((renewed) => server.renewCertificate(renewed!), console.error),
    );
  // Else a reload would end the service.
  else if (process.env.NOTIFY_SOCKET) process.on("SIGHUP", () => {});
  return server.listen({ host, port, socket: uds, tls }).catch((error: Error) => {
    const where = uds ?? `${host}, port ${port}`;
    throw new LLMError(`Cannot listen on ${where}: ${error.message}. Try another ${uds ? "--uds" : "--port"}.`);
  });
}

async function readTls({ sslCertfile, sslKeyfile, sslCaCerts }: ServeOptions): Promise<TlsFiles | undefined> {
  if (sslCertfile === undefined && sslKeyfile === undefined && sslCaCerts === undefined) return undefined;
  if (sslCertfile === undefined || sslKeyfile === undefined) {
    throw new InvalidRequestError("--ssl-certfile", "HTTPS needs both --ssl-certfile and --ssl-keyfile.");
  }
  const read = (path: string) =>
    readFile(path).catch((error: Error) => {
      throw new InvalidRequestError("--ssl-certfile", `${path} cannot be read: ${error.message}.`);
    });
  const [cert, key, ca] = await Promise.all([read(sslCertfile), read(sslKeyfile), sslCaCerts && read(sslCaCerts)]);
  return { cert, key, ...(ca && { ca }) };
}

async function sayReady(
  source: string,
  url: string,
  { info }: LanguageModel,
  keys: number,
  { host, uds, hfOverrides }: ServeOptions,
  log: Log,
): Promise<void> {
  const { maxContext, cacheTokens, maxSequences, memory } = info;
  const { weights, kvCache, recurrentState, snapshots, scratch, other, total } = memory;
  log.info(
    `Memory: ${bytesText(total)} (weights ${bytesText(weights)}, KV cache ${bytesText(kvCache)}, ` +
      `states ${bytesText(recurrentState)}, snapshots ${bytesText(snapshots)}, other ${bytesText(scratch + other)})`,
    { memory },
  );
  if (hfOverrides) log.info(`config.json, changed: ${JSON.stringify(hfOverrides)}`);
  log.info(`GPU KV cache size: ${cacheTokens} tokens; ${maxSequences} replies at once`);
  log.info(`Maximum concurrency for ${maxContext} tokens per request: ${(cacheTokens / maxContext).toFixed(2)}x`);
  log.info("Application startup complete.");
  log.info(`Sluice serves ${source} on ${url}/v1${keys > 0 ? ", with API keys" : ""}. Ctrl-C stops it.`);
  if (keys === 0 && uds === undefined && !/^(localhost|::1|127(\.\d+){3})$/.test(host)) {
    log.warn("Anybody who reaches this address can use it; --api-key asks for a key.");
  }
}

async function throughputLines(llm: LanguageModel, { disableLogStats }: ServeOptions, log: Log): Promise<() => void> {
  const { reportThroughput } = await import("../server/report-throughput.ts");
  return disableLogStats ? () => {} : reportThroughput(llm, log);
}

/** Traces go where OpenTelemetry's own variable says; without it nothing of it is loaded. */
async function openTracing(log: Log): Promise<Tracing | undefined> {
  const endpoint = process.env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? process.env.OTEL_EXPORTER_OTLP_ENDPOINT;
  if (!endpoint) return undefined;
  const { startTracing, TRACING_PACKAGES } = await import("../server/tracing.ts");
  const tracing = await startTracing().catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new LLMError(
      `Traces want OpenTelemetry's libraries. Install them: npm install ${TRACING_PACKAGES.join(" ")}`,
    );
  });
  log.info(`Traces go to ${endpoint}.`);
  return tracing;
}

/** Settles when the first signal has been obeyed. A second one ends the process at once. */
function closeOnSignal(server: LLMServer, timeoutMs: number, log: Log): Promise<void> {
  return new Promise((resolve, reject) => {
    let isSecond = false;
    const stop = () => {
      // While the model is being loaded, nobody waits for an answer.
      if (isSecond || server.state === "loading") process.exit(130);
      isSecond = true;
      log.info("Stopping: no further requests are taken; those under way are answered.");
      notify("STOPPING=1");
      server.close({ timeoutMs }).then(resolve, reject);
    };
    process.on("SIGTERM", stop);
    process.on("SIGINT", stop);
  });
}

/** Tells systemd, where it has started this process and waits to hear. */
function notify(state: "READY=1" | "STOPPING=1"): void {
  if (process.env.NOTIFY_SOCKET) execFile("systemd-notify", [state], () => {});
}
