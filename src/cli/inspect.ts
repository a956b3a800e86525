import type { Command } from "commander";
import { onDevice, runnerOptions } from "../api/load-options.ts";
import type { PagingPlan } from "../api/types.ts";
import { Device } from "../gpu/device.ts";
import { BASELINE, type DeviceProfile } from "../gpu/profile.ts";
import { countParameters, sumWeights, weightLeaves } from "../models/qwen3-next/weights.ts";
import { listAdapters, openGpu } from "../platform/node/gpu.ts";
import { pagingPlan, slotsWithin } from "../runner/expert-budget.ts";
import { memoryPlan } from "../runner/memory-plan.ts";
import { pagedSources } from "../runner/paged-experts.ts";
import { fetchKernels } from "../runner/record-step.ts";
import { dataBytes, type WeightFormat, type WeightSource } from "../weights/format.ts";
import { planWeight, weightBytes } from "../weights/load.ts";
import { type OpenedModel, withModel } from "./open-runner.ts";
import { type ModelOptions, number, weightOptions, wholeNumber } from "./options.ts";
import { defaultModel } from "./package.ts";
import { bytesText, countText, table } from "./text.ts";

interface InspectOptions extends Omit<ModelOptions, "reference"> {
  readonly sequences: number;
  readonly cacheTokens?: number;
  readonly cacheHostGib?: number;
  readonly json?: boolean;
  /** MB/s */
  readonly storeSpeed?: number;
}

export function addInspect(program: Command): void {
  const command = program
    .command("inspect [model]")
    .description("Say what a model is made of, and the memory it would take. Reads headers only.");
  weightOptions(command)
    .option(
      "--context <tokens>",
      "tokens of prompt and reply together (default: the model's, at most 4096)",
      wholeNumber(2),
    )
    .option("--sequences <count>", "replies that are written at once", wholeNumber(1), 1)
    .option("--cache-tokens <count>", "tokens that the KV cache holds (default: one context)", wholeNumber(1))
    .option("--cache-host-gib <size>", "host memory for states of earlier requests", number)
    .option("--store-speed <MB/s>", "how fast experts can be read, to foretell tokens per second with --memory", number)
    .option("--json", "one JSON object")
    .addHelpText(
      "after",
      `
Examples:
  $ sluice inspect ./model
  $ sluice inspect ./model --quantization q4 --context 32768 --dtype f16 --json`,
    )
    .action(inspect);
}

async function inspect(source = defaultModel(), options: InspectOptions): Promise<void> {
  const report = await withModel(source, (model) => inspectModel(model, options));
  console.log(options.json ? JSON.stringify(report, undefined, 2) : reportText(report));
}

async function inspectModel(model: OpenedModel, options: InspectOptions) {
  const { config, sources, checkpoint } = model;
  const { adapter, profile } = await findProfile(options);
  const { context, sequences } = options;
  const common = onDevice(runnerOptions(config, { ...options, maxContext: context }), profile, options);
  const dtype = common.kvFormat;
  const standard = {
    ...common,
    maxSequences: sequences,
    cacheTokens: options.cacheTokens ?? common.maxContext,
    snapshots: Math.max(common.snapshots, sequences),
  } as const;
  await fetchKernels(profile, standard);
  const runner = { ...standard, expertSlots: slotsWithin(options.memory, sources, profile, standard) };
  const planned = weightLeaves(sources).map((leaf) => planWeight(leaf, options.quantization));
  const paged = runner.expertSlots === undefined ? new Set<WeightSource>() : pagedSources(sources);
  const whole = weightLeaves(sources)
    .filter((leaf) => !paged.has(leaf))
    .map((leaf) => planWeight(leaf, options.quantization));
  const largest = whole.reduce((a, b) =>
    dataBytes(b.format, b.rows * b.columns) > dataBytes(a.format, a.rows * a.columns) ? b : a,
  );
  const count = (of: "mixer" | "feedForward", kind: string) =>
    config.layers.filter((layer) => layer[of] === kind).length;
  return {
    model: checkpoint.label,
    modelType: config.modelType,
    layers: {
      total: config.layers.length,
      delta: count("mixer", "delta"),
      attention: count("mixer", "attention"),
      moe: count("feedForward", "moe"),
      dense: count("feedForward", "dense"),
    },
    hiddenSize: config.hiddenSize,
    vocabulary: config.vocabularySize,
    maxPositions: config.maxPositions,
    experts: { total: config.experts, perToken: config.experts > 0 ? config.topK : 0 },
    tiedEmbeddings: sources.head === sources.embedding,
    parameters: countParameters(sources),
    tensors: {
      count: checkpoint.tensors.size,
      bytes: checkpoint.sizeBytes,
      formats: byFormat([...checkpoint.tensors.values()], ({ sizeBytes }) => sizeBytes),
    },
    plan: {
      adapter,
      dtype,
      quantization: options.quantization,
      context: runner.maxContext,
      sequences,
      cacheTokens: runner.cacheTokens,
      weights: byFormat(planned, weightBytes),
      bytesPerToken: Math.round(
        sumWeights(sources, (leaf) => weightBytes(planWeight(leaf, options.quantization))).active,
      ),
      largestBuffer: {
        weight: largest.label,
        bytes: dataBytes(largest.format, largest.rows * largest.columns),
        allowed: Math.min(profile.maxBindingBytes, profile.maxBufferBytes),
      },
      memory: memoryPlan(sources, profile, runner),
      cacheHostBytes: (options.cacheHostGib ?? 0) * 2 ** 30,
      paging: pagingPlan(sources, runner, { bytesPerSecond: options.storeSpeed && options.storeSpeed * 1e6 }),
    },
  };
}

type Report = Awaited<ReturnType<typeof inspectModel>>;

/** What the adapter at hand offers; where there is none, what every WebGPU device does. */
async function findProfile(options: InspectOptions): Promise<{ adapter: string | null; profile: DeviceProfile }> {
  if (options.adapter === undefined && (await listAdapters()).length === 0) return { adapter: null, profile: BASELINE };
  const { dtype, precise } = options;
  const device = await Device.open({ ...(await openGpu(options)), withoutF16: dtype === "f32", precise });
  device.dispose();
  return { adapter: device.name, profile: device.profile };
}

const FORMATS = ["f32", "bf16", "f16", "q8", "q4a", "q4"] as const;

/** The formats that Sluice has itself, largest first, then the types of files that become one of them. */
function byFormat<T extends { readonly format: WeightFormat; readonly type?: string }>(
  items: readonly T[],
  bytesOf: (item: T) => number,
) {
  const sums: Record<string, { count: number; bytes: number }> = {};
  const typeOf = ({ type, format }: T) => type ?? format;
  for (const format of new Set([...FORMATS, ...items.map(typeOf).sort()])) {
    const ofFormat = items.filter((item) => typeOf(item) === format);
    const bytes = ofFormat.reduce((sum, item) => sum + bytesOf(item), 0);
    if (ofFormat.length > 0) sums[format] = { count: ofFormat.length, bytes };
  }
  return sums;
}

function reportText({ layers, experts, parameters, tensors, plan, ...model }: Report): string {
  const formats = (sums: Report["tensors"]["formats"]) =>
    Object.entries(sums).map(([format, { count, bytes }]) => [format, String(count), bytesText(bytes)]);
  const { memory, largestBuffer } = plan;
  const fits = largestBuffer.bytes <= largestBuffer.allowed;
  const allWeights = Object.values(plan.weights).reduce((sum, { bytes }) => sum + bytes, 0);
  return [
    model.model,
    table(
      [
        ["architecture", model.modelType],
        ["layers", `${layers.total}: ${layers.delta} delta, ${layers.attention} attention`],
        [
          "feed-forward",
          layers.moe
            ? `${layers.moe} sparse (${experts.perToken} of ${experts.total} experts), ${layers.dense} dense`
            : "dense",
        ],
        ["hidden size", String(model.hiddenSize)],
        ["vocabulary", `${model.vocabulary}${model.tiedEmbeddings ? ", tied embeddings" : ""}`],
        ["context", `up to ${model.maxPositions} tokens`],
        ["parameters", `${countText(parameters.total)}, of which ${countText(parameters.active)} work on a token`],
      ],
      { left: [0, 1] },
    ),
    "",
    "Tensors",
    table([...formats(tensors.formats), ["total", String(tensors.count), bytesText(tensors.bytes)]]),
    "",
    `Memory on ${plan.adapter ?? "any WebGPU device"}, for ${plan.context} tokens in ${plan.dtype}` +
      (plan.sequences > 1 ? `, ${plan.sequences} replies at once, ${plan.cacheTokens} tokens in all` : ""),
    table([
      ...formats(plan.weights).map(([format, count, bytes]) => [`weights, ${format}`, count, bytes]),
      ...(plan.paging ? [["experts left where they are", "", `−${bytesText(allWeights - memory.weights)}`]] : []),
      ["KV cache", "", bytesText(memory.kvCache)],
      ["recurrent state", "", bytesText(memory.recurrentState)],
      ["snapshots of it", "", bytesText(memory.snapshots)],
      ["scratch", "", bytesText(memory.scratch)],
      ["other", "", bytesText(memory.other)],
      ["total", "", bytesText(memory.total)],
      ...(plan.cacheHostBytes > 0 ? [["on the host, at most", "", bytesText(plan.cacheHostBytes)]] : []),
    ]),
    "",
    `A token reads ${bytesText(plan.bytesPerToken)} of weights. The largest buffer is ${largestBuffer.weight}, ${bytesText(largestBuffer.bytes)}` +
      (fits ? "." : `, and the device allows ${bytesText(largestBuffer.allowed)}: this model does not fit as it is.`),
    ...(plan.paging ? ["", pagingText(plan.paging)] : []),
  ].join("\n");
}

function pagingText({
  slots,
  experts,
  expertBytes,
  hitRate,
  hitRateSource,
  bytesPerToken,
  tokensPerSecond,
}: PagingPlan) {
  const speed = tokensPerSecond ? `: at most ${tokensPerSecond.toFixed(1)} tokens/s at that speed` : "";
  return (
    `The device holds ${slots} of a layer's ${experts} experts (${bytesText(expertBytes)} each) at a time. ` +
    `About ${(100 * hitRate).toFixed(0)}% of a token's are there already (${hitRateSource}), ` +
    `and ${bytesText(bytesPerToken)} a token are read${speed}.`
  );
}
