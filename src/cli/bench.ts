import type { Command } from "commander";
import type { Device } from "../gpu/device.ts";
import { countParameters } from "../models/qwen3-next/weights.ts";
import type { ModelRunner } from "../runner/model-runner.ts";
import { reportText } from "./bench-report.ts";
import { addBenchServe } from "./bench-serve.ts";
import { checkSpread, countDistinctExperts } from "./expert-spread.ts";
import { measureBatch, measureDecode, measurePrefill, quantile } from "./measure.ts";
import { measureBandwidth } from "./measure-bandwidth.ts";
import { countPaging, measureStore, pagingOf } from "./measure-paging.ts";
import { type OpenedModel, type OpenedRunner, openShape, withModel, withRunner } from "./open-runner.ts";
import { countList, fastOption, type ModelOptions, modelOptions, wholeNumber } from "./options.ts";
import { defaultModel, gitCommit, packageVersion } from "./package.ts";
import { profileSteps } from "./profile.ts";

interface BenchOptions extends ModelOptions {
  readonly prompt: readonly number[];
  readonly depth: readonly number[];
  readonly tokens: number;
  readonly repeats: number;
  readonly json?: boolean;
  readonly shape?: string;
  readonly batchTokens?: number;
  readonly profile?: boolean;
  readonly batch?: readonly number[];
}

export function addBench(program: Command): void {
  const command = program
    .command("bench [model]")
    .description("Measure how fast a model reads prompts and draws tokens.")
    .option("--prompt <tokens>", "lengths of the prompts that are read, such as 512,4096", countList, [512])
    .option(
      "--depth <tokens>",
      "tokens that the context holds when decoding begins, such as 1024,32768",
      countList,
      [512],
    )
    .option("--tokens <count>", "tokens that are drawn", wholeNumber(2), 64)
    .option("--repeats <count>", "measurements of each, after one that is not counted", wholeNumber(1), 5)
    .option("--shape <name>", "a published shape or a config.json, with weights made up on the device")
    .option("--batch <counts>", "also draw tokens for so many sequences at once, such as 1,2,4,8", countList)
    .option("--batch-tokens <count>", "tokens of one prefill step", wholeNumber(1))
    .option("--profile", "also time every kernel of a step on the device")
    .option("--json", "one JSON object");
  fastOption(modelOptions(command, { context: "what the measurement needs" }))
    .addHelpText(
      "after",
      `
Examples:
  $ sluice bench
  $ sluice bench --batch 1,2,4,8,16,32
  $ sluice bench ./model --quantization q4 --prompt 512,4096 --depth 1024,32768 --json
  $ sluice bench --shape qwen3-next-80b-a3b --quantization q4 --fast --profile
  $ sluice bench ./packed-80b --memory 25% --prompt 16 --depth 16`,
    )
    .action(bench);
  addBenchServe(command);
}

async function bench(source: string | undefined, options: BenchOptions): Promise<void> {
  const { prompt, depth, tokens } = options;
  const context = options.context ?? Math.max(...prompt, Math.max(...depth) + tokens + 2) + 1;
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
  const { shape } = options;
  const report = await (shape === undefined ? withModel(source ?? defaultModel(), run) : run(await openShape(shape)));
  console.log(options.json ? JSON.stringify(report, undefined, 2) : reportText(report));
}

export type BenchReport = Awaited<ReturnType<typeof measure>>;

async function measure(
  { checkpoint, config, sources, isSynthetic }: OpenedModel,
  { runner, device, weightsMs }: OpenedRunner,
  loadMs: number,
  { prompt, depth, tokens, repeats, quantization, profile, batch = [] }: BenchOptions,
) {
  const { paging } = device ? runner : {};
  // With experts that come and go, counting would read all of them.
  const experts = device && config.experts > 0 && !paging ? await countDistinctExperts(runner, config) : [];
  if (isSynthetic) checkSpread(experts);
  const bandwidth = device && (await measureBandwidth(device));
  const storeBytesPerSecond = paging && (await measureStore(sources));
  const counts = () => countPaging(device && runner.paging);
  const prefill = [];
  for (const length of prompt) {
    const before = await counts();
    const ms = await measurePrefill(runner, length, repeats);
    prefill.push({
      prompt: length,
      tokensPerSecond: rates(length, ms),
      timeToFirstTokenMs: { median: quantile(ms, 0.5), p95: quantile(ms, 0.95) },
      ...(paging && { paging: pagingOf((repeats + 1) * length, [{ before, after: await counts() }]) }),
    });
  }
  const decode = [];
  for (const held of depth) {
    const runs = await measureDecode(runner, held, tokens, repeats);
    const tokensPerSecond = rates(
      tokens,
      runs.map(({ ms }) => ms),
    );
    const cpuMs = runs.map((run) => run.cpuMs);
    decode.push({
      depth: held,
      tokensPerSecond,
      cpuMsPerToken: quantile(cpuMs, 0.5) / tokens,
      ...(device && {
        readbacksPerToken: Math.max(...runs.map(({ readbacks }) => readbacks)) / tokens,
        ...traffic(runner, held + tokens / 2, tokensPerSecond.median, bandwidth),
      }),
      ...(paging && {
        paging: pagingOf(
          runs.length * tokens,
          runs.map((run) => run.paging),
        ),
      }),
    });
  }
  const batches = [];
  for (const sequences of batch) {
    const ms = await measureBatch(runner, sequences, { depth: depth[0], count: tokens, repeats });
    const stepMs = quantile(ms, 0.5) / tokens;
    batches.push({ sequences, tokensPerSecond: rates(sequences * tokens, ms), stepMs });
  }
  return {
    version: packageVersion(),
    commit: gitCommit(),
    model: { label: checkpoint.label, parameters: countParameters(sources), quantization },
    device: device ? describe(device) : { name: "CPU reference", dtype: "f32" },
    settings: { prompt, depth, tokens, repeats },
    loadMs,
    weightsMs,
    prefill,
    decode,
    batches,
    ...(device && { dispatchesPerToken: runner.decodeKernels.length, bandwidth }),
    // Nothing is freed while a model is loaded, so what is allocated in the end is the most that ever was.
    memory: { ...runner.memory, ...(device && { allocated: device.allocatedBytes }) },
    experts,
    ...(paging && { paging: { slots: paging.slots, experts: paging.experts, storeBytesPerSecond } }),
    ...(profile && device && { profile: await profileSteps(runner, prompt[0], batch) }),
  };
}

const rates = (count: number, ms: readonly number[]) => ({
  median: (1000 * count) / quantile(ms, 0.5),
  p95: (1000 * count) / quantile(ms, 0.95),
});

/** What one token moves: weights at work and the cache are read, the recurrent state is read and written. */
function traffic(
  { weightBytes, memory, limits: { blocks, blockTokens, maxSequences } }: ModelRunner,
  depth: number,
  tokensPerSecond: number,
  bandwidth: number | undefined,
) {
  const cacheBytes = (memory.kvCache / (blocks * blockTokens)) * depth;
  const bytes = weightBytes + cacheBytes + (2 * memory.recurrentState) / maxSequences;
  return {
    weightBytesPerToken: Math.round(weightBytes),
    bytesPerToken: Math.round(bytes),
    gigabytesPerSecond: (bytes * tokensPerSecond) / 1e9,
    ...(bandwidth && { shareOfBandwidth: (bytes * tokensPerSecond) / bandwidth }),
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
