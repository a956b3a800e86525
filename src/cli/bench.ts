import type { Command } from "commander";
import type { Device } from "../gpu/device.ts";
import { countParameters } from "../models/qwen3-next/weights.ts";
import { checkSpread, countDistinctExperts } from "./expert-spread.ts";
import { measureBatch, measureDecode, measurePrefill, quantile } from "./measure.ts";
import { type OpenedModel, type OpenedRunner, openShape, withModel, withRunner } from "./open-runner.ts";
import { countList, type ModelOptions, modelOptions, wholeNumber } from "./options.ts";
import { gitCommit, packageVersion, sproutFolder } from "./package.ts";
import { profileSteps, profileText } from "./profile.ts";
import { bytesText, countText, rateText, table } from "./text.ts";

interface BenchOptions extends ModelOptions {
  readonly prompt: number;
  readonly depth: number;
  readonly tokens: number;
  readonly repeats: number;
  readonly json?: boolean;
  readonly shape?: string;
  readonly fast?: boolean;
  readonly batchTokens?: number;
  readonly profile?: boolean;
  readonly batch?: readonly number[];
}

export function addBench(program: Command): void {
  const command = program
    .command("bench [model]")
    .description("Measure how fast a model reads prompts and draws tokens.")
    .option("--prompt <tokens>", "length of the prompt that is read", wholeNumber(1), 512)
    .option("--depth <tokens>", "tokens that the context holds when decoding begins", wholeNumber(1), 512)
    .option("--tokens <count>", "tokens that are drawn", wholeNumber(2), 64)
    .option("--repeats <count>", "measurements of each, after one that is not counted", wholeNumber(1), 5)
    .option("--shape <name>", "a published shape or a config.json, with weights made up on the device")
    .option("--batch <counts>", "also draw tokens for so many sequences at once, such as 1,2,4,8", countList)
    .option("--batch-tokens <count>", "tokens of one prefill step", wholeNumber(1))
    .option("--fast", "leave out the checks that browsers make (bounds, validation)")
    .option("--profile", "also time every kernel of a step on the device")
    .option("--json", "one JSON object");
  modelOptions(command, { context: "what the measurement needs" })
    .addHelpText(
      "after",
      `
Examples:
  $ sluice bench
  $ sluice bench --batch 1,2,4,8,16,32
  $ sluice bench ./model --quantization q4 --prompt 4096 --depth 32768 --json
  $ sluice bench --shape qwen3-next-80b-a3b --quantization q4 --fast --profile`,
    )
    .action(bench);
}

async function bench(source = sproutFolder(), options: BenchOptions): Promise<void> {
  const { prompt, depth, tokens } = options;
  const context = options.context ?? Math.max(prompt, depth + tokens + 2) + 1;
  const maxSequences = Math.max(1, ...(options.batch ?? []));
  const sizes = { context, maxSequences, cacheTokens: context * maxSequences + 64 * maxSequences };
  const run = (model: OpenedModel) => {
    const start = performance.now();
    return withRunner(model, { ...options, ...sizes }, (opened) => {
      const loadMs = performance.now() - start;
      console.error(`On ${opened.device?.name ?? "the CPU reference"}.`);
      return measure(model, opened, loadMs, options);
    });
  };
  const report = await (options.shape === undefined ? withModel(source, run) : run(await openShape(options.shape)));
  console.log(options.json ? JSON.stringify(report, undefined, 2) : reportText(report));
}

async function measure(
  { checkpoint, config, sources, isSynthetic }: OpenedModel,
  { runner, device }: OpenedRunner,
  loadMs: number,
  { prompt, depth, tokens, repeats, quantization, profile, batch = [] }: BenchOptions,
) {
  const experts = device && config.experts > 0 ? await countDistinctExperts(runner, config) : [];
  if (isSynthetic) checkSpread(experts);
  const prefillMs = await measurePrefill(runner, prompt, repeats);
  const decodes = await measureDecode(runner, depth, tokens, repeats);
  const batches: { sequences: number; ms: number[] }[] = [];
  for (const sequences of batch) {
    batches.push({ sequences, ms: await measureBatch(runner, sequences, { depth, count: tokens, repeats }) });
  }
  const perSecond = (count: number, ms: readonly number[]) => ({
    median: (1000 * count) / quantile(ms, 0.5),
    p95: (1000 * count) / quantile(ms, 0.95),
  });
  const drawn = perSecond(
    tokens,
    decodes.map(({ ms }) => ms),
  );
  return {
    version: packageVersion(),
    commit: gitCommit(),
    model: { label: checkpoint.label, parameters: countParameters(sources), quantization },
    device: device ? describe(device) : { name: "CPU reference", dtype: "f32" },
    settings: { prompt, depth, tokens, repeats },
    loadMs,
    prefill: {
      tokensPerSecond: perSecond(prompt, prefillMs),
      timeToFirstTokenMs: { median: quantile(prefillMs, 0.5), p95: quantile(prefillMs, 0.95) },
    },
    decode: {
      tokensPerSecond: drawn,
      ...(device && {
        dispatchesPerToken: runner.decodeKernels.length,
        readbacksPerToken: Math.max(...decodes.map(({ readbacks }) => readbacks)) / tokens,
        weightBytesPerToken: Math.round(runner.weightBytes),
        gigabytesPerSecond: (runner.weightBytes * drawn.median) / 1e9,
      }),
    },
    batches: batches.map(({ sequences, ms }) => ({
      sequences,
      tokensPerSecond: perSecond(sequences * tokens, ms),
      stepMs: quantile(ms, 0.5) / tokens,
    })),
    memory: runner.memory,
    experts,
    ...(profile && device && { profile: await profileSteps(runner, prompt) }),
  };
}

function describe({ name, isSoftware, profile, gpu: { adapterInfo } }: Device) {
  const { vendor, architecture, device, description } = adapterInfo;
  const { f16, subgroups, subgroupMinSize, subgroupMaxSize } = profile;
  return {
    name,
    isSoftware,
    dtype: f16 ? "f16" : "f32",
    subgroups: subgroups ? [subgroupMinSize, subgroupMaxSize] : null,
    adapter: { vendor, architecture, device, description },
  };
}

function reportText({
  model,
  device,
  settings,
  prefill,
  decode,
  memory,
  version,
  commit,
  loadMs,
  experts,
  profile,
  batches,
}: Awaited<ReturnType<typeof measure>>): string {
  const { prompt, depth, tokens, repeats } = settings;
  const rate = ({ median, p95 }: { median: number; p95: number }) => [rateText(median), rateText(p95)];
  const first = prefill.timeToFirstTokenMs;
  return [
    `${model.label}: ${countText(model.parameters.total)} parameters, ${model.quantization === "auto" ? "weights as they are" : model.quantization}`,
    `${device.name}, ${device.dtype}; sluice ${version}${commit ? ` (${commit})` : ""}; medians of ${repeats}`,
    "",
    table(
      [
        ["", "median", "p95", ""],
        [`prefill of ${prompt} tokens`, ...rate(prefill.tokensPerSecond), "tokens/s"],
        ["time to first token", ...rate(first), "ms"],
        [`decode of ${tokens} tokens after ${depth}`, ...rate(decode.tokensPerSecond), "tokens/s"],
      ],
      { left: [0, 3] },
    ),
    "",
    table(
      [
        ["loading and compiling", `${(loadMs / 1000).toFixed(1)} s`],
        ...(decode.dispatchesPerToken === undefined
          ? []
          : [
              ["dispatches a token", String(decode.dispatchesPerToken)],
              ["readbacks a token", String(decode.readbacksPerToken)],
              [
                "weights read a token",
                `${bytesText(decode.weightBytesPerToken!)}, ${decode.gigabytesPerSecond!.toFixed(2)} GB/s`,
              ],
            ]),
        ["memory", bytesText(memory.total)],
        ...experts.map(({ tokens, distinct, uniform, of }) => [
          `experts of ${tokens} tokens`,
          `${distinct.toFixed(0)} of ${of} a layer (${uniform.toFixed(0)} if all were as likely)`,
        ]),
      ],
      { left: [0, 1] },
    ),
    ...(batches.length === 0
      ? []
      : [
          "",
          table([
            ["sequences at once", "tokens/s", "p95", "ms a step", "× one"],
            ...batches.map(({ sequences, tokensPerSecond, stepMs }) => [
              String(sequences),
              ...rate(tokensPerSecond),
              stepMs.toFixed(2),
              (tokensPerSecond.median / batches[0].tokensPerSecond.median).toFixed(2),
            ]),
          ]),
        ]),
    ...(profile ?? []).flatMap(({ step, kernels }) => ["", profileText(step, kernels)]),
  ].join("\n");
}
