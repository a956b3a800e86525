import type { RemoteExperts } from "../companion/remote-experts.ts";
import { GrammarEngine } from "../constraints/grammar-engine.ts";
import { Engine } from "../engine/engine.ts";
import { CheckpointError, InvalidRequestError } from "../errors.ts";
import type { DeviceProfile } from "../gpu/profile.ts";
import type { ModelConfig } from "../models/qwen3-next/config.ts";
import { countParameters, type ModelWeights } from "../models/qwen3-next/weights.ts";
import type { ExpertHost } from "../paging/expert-host.ts";
import { parseBudget, slotsWithin } from "../runner/expert-budget.ts";
import type { LayerHost } from "../runner/layer-host.ts";
import type { RunnerOptions } from "../runner/memory-plan.ts";
import { ModelRunner } from "../runner/model-runner.ts";
import { expertShape, pagedSources } from "../runner/paged-experts.ts";
import { fetchKernels } from "../runner/record-step.ts";
import { stageRanges } from "../stages/stage-ranges.ts";
import { ChatTemplate } from "../tokenizer/chat-template.ts";
import { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { WeightSource } from "../weights/format.ts";
import { checkCompanion, companionOptions } from "./companion-options.ts";
import { fingerprint } from "./fingerprint.ts";
import type { Lean } from "./lean.ts";
import type { ModelEngine } from "./model-host.ts";
import { openDevice } from "./open-device.ts";
import { type OpenedModel, openModel } from "./open-model.ts";
import type { LoadedRunner, Platform } from "./platform.ts";
import { resolveSampling, type SamplingDefaults, samplingDefaults } from "./sampling.ts";
import { storedBytes } from "./stored-bytes.ts";
import type { LoadOptions, LoadProgress, ModelInfo, ModelSource, StoreReport } from "./types.ts";

export interface LoadedModel {
  readonly engine: ModelEngine;
  readonly tokenizer: Tokenizer | undefined;
  readonly template: ChatTemplate;
  /** Absent where nothing could end a reply that is held to a format. */
  readonly grammars: GrammarEngine | undefined;
  readonly defaults: SamplingDefaults;
  readonly info: ModelInfo;
  readonly experts: ExpertHost | undefined;
  readonly layers?: LayerHost;
  readonly lacks?: string;
  readonly fingerprint: string;
  /** The files stay in use, and whoever uses them closes them. */
  readonly keepsFiles: boolean;
  /** Ends what goes on with the files behind the model's back: what was fetched so far is kept. */
  readonly stopStoring: () => Promise<void>;
}

/** Tokens of context where nothing else is asked for: room for a long chat, and small beside the weights. */
const DEFAULT_CONTEXT = 4096;

/**
 * Tokens of one prefill step. Larger steps read each expert less often; scratch grows with them. Where subgroups multiply
 * matrices, the arithmetic takes so little time that reading shows.
 */
const BATCH_TOKENS = 512;
const MATRIX_BATCH_TOKENS = 4096;

const REFERENCE_BATCH_TOKENS = 16;

/** Message boundaries whose recurrent state is kept. */
const SNAPSHOTS = 4;

/** Opens a checkpoint and puts the model on a device. Whatever fails leaves nothing open. */
export async function loadModel(platform: Platform, source: ModelSource, options: LoadOptions): Promise<LoadedModel> {
  options.signal?.throwIfAborted();
  checkOptions(options);
  const progress = new Progress(options.onProgress);
  const { store = "auto" } = options;
  const onReport = (report: StoreReport) => progress.stored(report);
  const opened = await openModel(platform, source, { ...options, store, onReport });
  const { checkpoint } = opened;
  let model: LoadedModel | undefined;
  try {
    const alone = () => loadModel(platform, source, { ...options, companion: undefined });
    model = await load(platform, source, opened, options, progress, alone);
    return model;
  } finally {
    // Experts that are not on the device are read as long as the model lives; its runner closes the files then.
    if (!model?.keepsFiles) await checkpoint.close();
  }
}

async function load(
  platform: Platform,
  source: ModelSource,
  { checkpoint, config, sources, loadWeight }: OpenedModel,
  options: LoadOptions,
  progress: Progress,
  alone: () => Promise<LoadedModel>,
): Promise<LoadedModel> {
  const tokenizer = checkpoint.tokenizer && new Tokenizer(checkpoint.tokenizer, checkpoint.label);
  const template = new ChatTemplate(checkpoint.chatTemplate, checkpoint.label);
  const endOfTurn = ["<|im_end|>", "<|endoftext|>"].map((token) => tokenizer?.tokenId(token));
  const defaults = samplingDefaults(checkpoint.generationConfig, checkpoint.config, endOfTurn);
  const sampling = defaultSampling(checkpoint, defaults, config);
  const { stopIds } = defaults;
  const { vocabularySize } = config;
  const grammars =
    tokenizer && stopIds.length > 0
      ? new GrammarEngine(tokenizer, { vocabularySize, stopIds, startThread: platform.startGrammars })
      : undefined;
  const own = {
    tokenizer,
    template,
    grammars,
    defaults,
    fingerprint: await fingerprint(sources),
    stopStoring: () => checkpoint.close(),
  };
  const wanted = runnerOptions(config, options, tokenizer?.vocabularySize);
  let isLoaded = false;
  // Models that are tried and not taken leave the files open.
  const closeFiles = () => void (isLoaded && checkpoint.close());

  const start = async (lean?: Lean): Promise<LoadedModel> => {
    if (lean?.mode === "requests") {
      const { RemoteEngine } = await import("../companion/remote-engine.ts");
      const engine = await withFallback(new RemoteEngine(lean.link), lean, alone);
      const info = { ...describeElsewhere(checkpoint, config, sources, options, lean), sampling };
      return { ...own, engine, info, experts: undefined, keepsFiles: false };
    }
    if (lean?.mode === "layers") {
      const { startLayers } = await import("./start-layers.ts");
      const started = await startLayers(platform, sources, wanted, options, progress, lean, closeFiles).catch(
        (error) => {
          lean.link.close();
          throw error;
        },
      );
      const companion = { ...lean.info, layers: started.layers };
      const info = { ...describe(checkpoint, config, sources, started), sampling, companion };
      const engine = await withFallback(new Engine(started.runner, options.queue), lean, alone);
      return { ...own, engine, info, experts: undefined, keepsFiles: started.runner.paging !== undefined };
    }
    const companion = lean && (await remoteExperts(lean, expertShape(sources)!));
    progress.start(storedBytes(sources));
    const startHere = options.device?.reference ? startReference : platform.stages ? startStages(source) : startGpu;
    const onDispose = () => {
      closeFiles();
      companion?.dispose();
    };
    const extras = { loadWeight, onDispose, companion };
    const started = await startHere(platform, sources, wanted, options, progress, extras).catch((error) => {
      companion?.dispose();
      throw error;
    });
    try {
      const { cacheHostBytes } = options;
      const described = describe(checkpoint, config, sources, started);
      const info = { ...described, cacheHostBytes, sampling, companion: lean?.info };
      const { runner } = started;
      const engine = new Engine(runner, options.queue, cacheHostBytes);
      const { experts, layers, paging } = runner;
      const lacks = paging ? "its server reads its experts when they are needed" : stagesText(platform);
      return { ...own, engine, info, experts, layers, lacks, keepsFiles: paging !== undefined };
    } catch (error) {
      started.runner.dispose();
      throw error;
    }
  };

  const { companion } = options;
  const mode = companion && (companionOptions(companion).mode ?? "auto");
  let model: LoadedModel;
  if (!companion || !mode) model = await start();
  else if (mode === "auto") {
    const { loadBest } = await import("./load-best.ts");
    const candidates = { fingerprint: own.fingerprint, sources, runnerOptions: wanted, start };
    model = await loadBest(platform, options, candidates);
  } else {
    const { leanOn } = await import("./lean.ts");
    model = await start(await leanOn(platform, companion, own.fingerprint, mode));
  }
  isLoaded = true;
  try {
    progress.report("ready");
    return model;
  } catch (error) {
    model.engine.dispose();
    throw error;
  }
}

const stagesText = ({ stages }: Platform): string | undefined =>
  stages && `its layers are in ${stages.memoryBytes.length} processes, a GPU each`;

/** An engine that leans on a companion, and this device where that is gone. */
async function withFallback(
  engine: ModelEngine,
  { fallback }: Lean,
  alone: () => Promise<LoadedModel>,
): Promise<ModelEngine> {
  if (!fallback) return engine;
  const { FailoverEngine } = await import("../companion/failover-engine.ts");
  return new FailoverEngine(engine, async () => (await alone()).engine);
}

async function remoteExperts(
  { link, fallback }: Lean,
  shape: NonNullable<ReturnType<typeof expertShape>>,
): Promise<RemoteExperts> {
  const { RemoteExperts } = await import("../companion/remote-experts.ts");
  return new RemoteExperts(link, shape, !fallback);
}

function defaultSampling(
  { label }: Checkpoint,
  defaults: SamplingDefaults,
  { vocabularySize }: ModelConfig,
): ModelInfo["sampling"] {
  try {
    const sampling = resolveSampling({}, defaults, vocabularySize);
    const { temperature, topK, topP, minP, presencePenalty, frequencyPenalty, repetitionPenalty } = sampling;
    return { temperature, topK, topP, minP, presencePenalty, frequencyPenalty, repetitionPenalty };
  } catch (cause) {
    const message = `generation_config.json cannot be used: ${(cause as Error).message}`;
    throw new CheckpointError(label, message, { cause });
  }
}

/** How a runner is set up for a model; the format of its KV cache is for the device to say. */
export function runnerOptions(
  config: ModelConfig,
  {
    quantization = "auto",
    maxContext,
    maxSequences,
    maxBatchTokens,
    cacheTokens,
  }: Pick<LoadOptions, "quantization" | "maxContext" | "maxSequences" | "maxBatchTokens" | "cacheTokens">,
  usableVocabulary = config.vocabularySize,
): Omit<RunnerOptions, "kvFormat"> {
  return {
    config,
    quantization,
    maxContext: contextLength(maxContext, config),
    maxBatchTokens: atLeastOne("maxBatchTokens", maxBatchTokens) ?? BATCH_TOKENS,
    maxSequences: atLeastOne("maxSequences", maxSequences),
    cacheTokens: atLeastOne("cacheTokens", cacheTokens),
    snapshots: Math.max(SNAPSHOTS, maxSequences ?? 1),
    usableVocabulary: Math.min(usableVocabulary, config.vocabularySize),
  };
}

/** What `runnerOptions` leaves to the device, where the user does. */
export function onDevice<O extends Omit<RunnerOptions, "kvFormat">>(
  options: O,
  { matrix, serialWorkgroups, f16 }: DeviceProfile,
  { dtype = "auto", maxBatchTokens }: { dtype?: "auto" | "f16" | "f32"; maxBatchTokens?: number },
): O & Pick<RunnerOptions, "kvFormat"> {
  const largest = matrix && !serialWorkgroups ? Math.min(MATRIX_BATCH_TOKENS, options.maxContext) : BATCH_TOKENS;
  return {
    ...options,
    kvFormat: dtype === "f16" || (dtype === "auto" && f16) ? "f16" : "f32",
    maxBatchTokens: maxBatchTokens ?? largest,
  };
}

interface Started {
  readonly runner: LoadedRunner;
  readonly options: RunnerOptions;
  readonly adapter: ModelInfo["adapter"];
}

type Start = (
  platform: Platform,
  sources: ModelWeights<WeightSource>,
  runnerOptions: Omit<RunnerOptions, "kvFormat">,
  options: LoadOptions,
  progress: Pick<Progress, "start" | "report">,
  extras: {
    readonly loadWeight?: OpenedModel["loadWeight"];
    readonly onDispose?: () => void;
    readonly companion?: RemoteExperts;
  },
) => Promise<Started>;

export const startGpu = async (
  ...[platform, sources, runnerOptions, options, progress, { loadWeight, onDispose, companion }]: Parameters<Start>
): Promise<Started & { readonly runner: ModelRunner }> => {
  const { device, adapter } = await openDevice(platform, options.device);
  try {
    const { profile } = device;
    const { maxBatchTokens } = options;
    const own = onDevice(runnerOptions, profile, { dtype: options.device?.dtype, maxBatchTokens });
    await fetchKernels(profile, own);
    const standard = { ...own, sharesExperts: companion !== undefined };
    const expertSlots =
      companion && options.memory === undefined ? 0 : slotsWithin(options.memory, sources, profile, standard);
    const withCache = { ...standard, expertSlots };
    if (expertSlots !== undefined) progress.start(storedBytes(sources, pagedSources(sources)));
    const runner = await ModelRunner.load(sources, {
      ...withCache,
      loadWeight,
      onDispose,
      companion,
      device,
      compile: options.compile,
      onBytes: (bytes) => progress.report("weights", bytes),
      onCompile: () => progress.report("compile"),
      signal: options.signal,
    });
    return { runner, options: withCache, adapter };
  } catch (error) {
    device.dispose();
    throw error;
  }
};

/** Layers in other processes, which read the model themselves. */
const startStages =
  (source: ModelSource): Start =>
  async (platform, sources, runnerOptions, options, progress) => {
    const stages = platform.stages!;
    if (options.memory !== undefined) {
      throw new InvalidRequestError(
        "memory",
        "what does not fit is read when needed on one device only; use more stages.",
      );
    }
    const { runner, adapter } = await stages.start(source, {
      options,
      ranges: stageRanges(sources, runnerOptions, stages.memoryBytes),
      usableVocabulary: runnerOptions.usableVocabulary,
      onBytes: (bytes) => progress.report("weights", bytes),
      onCompile: () => progress.report("compile"),
    });
    return { runner, options: { ...runnerOptions, kvFormat: adapter.dtype }, adapter };
  };

const startReference: Start = async (platform, sources, runnerOptions, options, progress) => {
  // Between two steps a request can be stopped, and here they take long.
  const withCache = { ...runnerOptions, kvFormat: "f32", maxBatchTokens: REFERENCE_BATCH_TOKENS } as const;
  const runner = await platform.loadReference(sources, {
    ...withCache,
    onBytes: (bytes) => progress.report("weights", bytes),
    signal: options.signal,
  });
  const adapter = { name: "CPU reference", isSoftware: true, dtype: "f32", subgroups: false } as const;
  return { runner, options: withCache, adapter };
};

function describe(
  checkpoint: Checkpoint,
  config: ModelConfig,
  sources: ModelWeights<WeightSource>,
  { runner, options, adapter }: Started,
): Omit<ModelInfo, "sampling"> {
  const attention = config.layers.filter(({ mixer }) => mixer === "attention").length;
  return {
    label: checkpoint.label,
    modelType: config.modelType,
    parameters: countParameters(sources).total,
    layers: { attention, delta: config.layers.length - attention },
    quantization: options.quantization,
    maxContext: options.maxContext,
    maxSequences: runner.limits.maxSequences,
    cacheTokens: runner.limits.blocks * runner.limits.blockTokens,
    maxBatchTokens: options.maxBatchTokens,
    vocabulary: config.vocabularySize,
    adapter,
    memory: runner.memory,
  };
}

/** A model that runs elsewhere as a whole. */
function describeElsewhere(
  { label }: Checkpoint,
  config: ModelConfig,
  sources: ModelWeights<WeightSource>,
  options: LoadOptions,
  { info, link }: Lean,
): Omit<ModelInfo, "sampling"> {
  const attention = config.layers.filter(({ mixer }) => mixer === "attention").length;
  const maxContext = Math.min(
    contextLength(options.maxContext ?? link.welcome.maxContext, config),
    link.welcome.maxContext,
  );
  return {
    label,
    modelType: config.modelType,
    parameters: countParameters(sources).total,
    layers: { attention, delta: config.layers.length - attention },
    quantization: "auto",
    maxContext,
    maxSequences: link.welcome.maxOpen,
    cacheTokens: 0,
    maxBatchTokens: maxContext,
    vocabulary: config.vocabularySize,
    adapter: { name: `companion ${info.url}`, isSoftware: false, dtype: "f32", subgroups: false },
    memory: { weights: 0, kvCache: 0, recurrentState: 0, snapshots: 0, scratch: 0, other: 0, total: 0 },
    companion: info,
  };
}

function checkOptions({
  companion,
  memory,
  cacheHostBytes,
  loadFormat = "auto",
  quantization = "auto",
  store = "auto",
  device: { dtype = "auto" } = {},
}: LoadOptions): void {
  const oneOf = (field: string, value: string, choices: readonly string[]) => {
    if (!choices.includes(value)) throw new InvalidRequestError(field, `${value} is none of ${choices.join(", ")}.`);
  };
  oneOf("loadFormat", loadFormat, ["auto", "dummy"]);
  oneOf("quantization", quantization, ["auto", "f32", "f16", "bf16", "q8", "q4a", "q4"]);
  oneOf("device.dtype", dtype, ["auto", "f32", "f16"]);
  if (memory !== undefined) parseBudget(memory);
  if (companion !== undefined) checkCompanion(companion);
  if (cacheHostBytes !== undefined && !(Number.isFinite(cacheHostBytes) && cacheHostBytes >= 0)) {
    throw new InvalidRequestError("cacheHostBytes", `${cacheHostBytes} is no number of bytes.`);
  }
  oneOf("store", store, ["auto", "none", "indexeddb", "opfs", "files", "memory"]);
}

function atLeastOne(field: string, count: number | undefined): number | undefined {
  if (count === undefined || (Number.isSafeInteger(count) && count >= 1)) return count;
  throw new InvalidRequestError(field, `${count} is not a whole number of at least 1.`);
}

function contextLength(asked: number | undefined, { maxPositions }: ModelConfig): number {
  if (asked === undefined) return Math.min(maxPositions, DEFAULT_CONTEXT);
  if (Number.isSafeInteger(asked) && asked >= 2 && asked <= maxPositions) return asked;
  throw new InvalidRequestError(
    "maxContext",
    `${asked} is not a whole number from 2 to ${maxPositions}, the model's own limit. YaRN, in configOverrides, stretches it.`,
  );
}

/** Reports bytes, phase and rate, at most some tens of times a second. */
class Progress {
  readonly #report: LoadOptions["onProgress"];
  #phase: LoadProgress["phase"] = "open";
  #store: StoreReport | undefined;
  #totalBytes = 0;
  #loadedBytes = 0;
  #startMs = performance.now();
  #lastMs = 0;

  constructor(report: LoadOptions["onProgress"]) {
    this.#report = report;
    this.report("open");
  }

  start(totalBytes: number): void {
    this.#totalBytes = totalBytes;
    this.#startMs = performance.now();
    this.report("weights", 0);
  }

  stored(report: StoreReport): void {
    this.#store = report;
    // What is stored after loading is not progress of loading any more.
    if (this.#phase !== "ready") this.report(this.#phase);
  }

  report(phase: LoadProgress["phase"], loadedBytes = this.#loadedBytes): void {
    const now = performance.now();
    const isNew = phase !== this.#phase;
    this.#phase = phase;
    const isFirst = phase === "weights" && this.#loadedBytes === 0;
    this.#loadedBytes = loadedBytes;
    if (!isNew && !isFirst && now - this.#lastMs < REPORT_MS) return;
    this.#lastMs = now;
    const seconds = (now - this.#startMs) / 1000;
    const bytesPerSecond = seconds > 0 ? loadedBytes / seconds : 0;
    const totalBytes = this.#totalBytes;
    const secondsLeft = loadedBytes > 0 ? (totalBytes - loadedBytes) / bytesPerSecond : undefined;
    this.#report?.({ phase, loadedBytes, totalBytes, bytesPerSecond, secondsLeft, store: this.#store });
  }
}

const REPORT_MS = 50;
