import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "vitest";
import { allBlocks } from "../../src/engine/runner.ts";
import { bindWeights } from "../../src/models/qwen3-next/bind-weights.ts";
import { parseConfig } from "../../src/models/qwen3-next/config.ts";
import { convertWeights, type ModelWeights } from "../../src/models/qwen3-next/weights.ts";
import { ExpertReader } from "../../src/paging/expert-reader.ts";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import type { ModelRunner } from "../../src/runner/model-runner.ts";
import { sparseLayers } from "../../src/runner/paged-experts.ts";
import type { WeightSource } from "../../src/weights/format.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import { loadGpuSources } from "../support/gpu-model.ts";
import { GREEDY } from "../support/greedy.ts";
import { ObservedPlatform } from "../support/observed-platform.ts";
import { packToDisk } from "../support/pack-model.ts";

/** Tokens of a reply, timed in blocks; what is measured of one is the fastest of all repetitions. */
const BLOCKS = 8;
const BLOCK = 6;
const TOKENS = BLOCKS * BLOCK;
const REPEATS = Number(process.env.SLUICE_BENCH_REPEATS ?? 4);
const PROMPT = Array.from({ length: 64 }, (_, i) => (i * i * 7 + 3) % 8000);

/** Bytes a second that the store gives, whatever the number of readers. */
const SPEEDS = (process.env.SLUICE_BENCH_SPEEDS?.split(",").map(Number) ?? [20, 100, Number.POSITIVE_INFINITY]).map(
  (megabytes) => megabytes * 1e6,
);

/**
 * Sprout with a quarter of its experts on the device, from a store of a known speed, beside the resident model: the same reply of both in turn. Others
 * use the machine, too, so of each block of tokens the fastest repetition counts.
 */
test("replies at 25 % beside resident time + bytes / bandwidth", { timeout: 600_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "sluice-paging-"));
  await packToDisk("demo/public/models/sprout", folder);
  const checkpoint = await openCheckpoint(await FolderSource.open(folder));
  const config = parseConfig(checkpoint.config);
  const options = { dtype: "f16", maxContext: 256, maxBatchTokens: 64 } as const;
  const bound = bindWeights(config, checkpoint);
  const resident = await loadGpuSources(bound, config, options);
  for (const bytesPerSecond of SPEEDS) {
    const sources = throttled(bound, bytesPerSecond);
    const platform = new ObservedPlatform();
    const paged = await loadGpuSources(sources, config, { ...options, expertSlots: 6, platform });
    const submits = countSubmits(platform);
    const bandwidth = await measuredBandwidth(sources);
    const runs = [];
    for (let i = 0; i <= REPEATS; i++)
      runs.push({ resident: await reply(resident), paged: await reply(paged, submits) });
    const counted = runs.slice(1);
    const all = (key: "hits" | "misses" | "readAhead" | "useful" | "foretellable" | "foretold") =>
      paged.paging!.layers.reduce((sum, layer) => sum + layer[key], 0);
    console.log(
      `${bytesPerSecond / 1e6} MB/s, measured ${(bandwidth / 1e6).toFixed(0)}; ` +
        `hits ${(all("hits") / (all("hits") + all("misses"))).toFixed(2)}, read ahead ${all("readAhead")}, ` +
        `useful ${(all("useful") / all("readAhead")).toFixed(2)}, foretold ${(all("foretold") / all("foretellable")).toFixed(2)}, ` +
        `${(median(counted.map(({ paged }) => paged.submits)) / TOKENS).toFixed(1)} submits a token, ` +
        `an empty one and its answer ${(await roundTrip(platform)).toFixed(3)} ms`,
    );
    for (const kind of ["prefill", "decode"] as const) {
      const count = kind === "decode" ? TOKENS : 1;
      const [residentMs, pagedMs] = (["resident", "paged"] as const).map(
        (of) => fastest(counted.map((run) => run[of][kind].ms)) / count,
      );
      const bytes = median(counted.map(({ paged }) => paged[kind].bytes)) / count;
      const cpuMs = (["resident", "paged"] as const).map(
        (of) => median(counted.map((run) => run[of][kind].cpuMs)) / count,
      );
      const floorMs = residentMs + (1e3 * bytes) / bandwidth;
      console.log(
        `  ${kind}: resident ${residentMs.toFixed(1)} ms, paged ${pagedMs.toFixed(1)} ms, ${(bytes / 1e3).toFixed(0)} KB, ` +
          `${(pagedMs / floorMs).toFixed(2)} × the floor of ${floorMs.toFixed(1)} ms, ` +
          `CPU ${cpuMs.map((ms) => ms.toFixed(1)).join(" and ")} ms`,
      );
    }
    paged.dispose();
  }
  resident.dispose();
  await checkpoint.close();
  await rm(folder, { recursive: true });
});

/** The sum of the fastest of each block. */
const fastest = (runs: readonly (readonly number[])[]): number =>
  runs[0].reduce((sum, _, block) => sum + Math.min(...runs.map((run) => run[block])), 0);

function countSubmits({ devices }: ObservedPlatform): { count: number } {
  const submits = { count: 0 };
  const { queue } = devices[0];
  const submit = queue.submit.bind(queue);
  queue.submit = (buffers) => {
    submits.count++;
    submit(buffers);
  };
  return submits;
}

/** Milliseconds of a submit that does nothing but have its answer read, as a stop does: the tenth part of many is faster. */
async function roundTrip({ devices }: ObservedPlatform): Promise<number> {
  const [device] = devices;
  const source = device.createBuffer({ size: 1024, usage: GPUBufferUsage.COPY_SRC });
  const target = device.createBuffer({ size: 1024, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
  const times = [];
  for (let i = 0; i < 200; i++) {
    const start = performance.now();
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, 0, target, 0, 1024);
    device.queue.submit([encoder.finish()]);
    await target.mapAsync(GPUMapMode.READ);
    target.unmap();
    times.push(performance.now() - start);
  }
  source.destroy();
  target.destroy();
  return times.sort((a, b) => a - b)[20];
}

function throttled(sources: ModelWeights<WeightSource>, bytesPerSecond: number): ModelWeights<WeightSource> {
  if (bytesPerSecond === Number.POSITIVE_INFINITY) return sources;
  let free = 0;
  return convertWeights(
    sources,
    (source): WeightSource => ({
      ...source,
      async read(from, to, signal) {
        const rows = await source.read(from, to, signal);
        if (!source.label.includes("experts.")) return rows;
        const now = performance.now();
        free = Math.max(free, now) + (1e3 * (rows.data.byteLength + (rows.scales?.byteLength ?? 0))) / bytesPerSecond;
        await new Promise((resolve) => setTimeout(resolve, free - now));
        return rows;
      },
    }),
  );
}

/** Bytes a second of all experts, read as the pager reads them, and given back. */
async function measuredBandwidth(sources: ModelWeights<WeightSource>): Promise<number> {
  const layers = sparseLayers(sources);
  const matrices = layers.map(({ gateUp, down, experts }) =>
    [gateUp, down].map((source) => ({ source, rows: source.rows / experts, format: source.format })),
  );
  const rates: number[] = [];
  for (let i = 0; i < 5; i++) {
    const reader = new ExpertReader(matrices);
    let bytes = 0;
    const start = performance.now();
    const readings = layers.flatMap(({ experts }, layer) =>
      Array.from({ length: experts }, async (_, expert) => {
        for (const { data, scales, release } of await reader.read(layer, expert)) {
          bytes += data.byteLength + (scales?.byteLength ?? 0);
          release?.();
        }
      }),
    );
    await Promise.all(readings);
    rates.push((1e3 * bytes) / (performance.now() - start));
  }
  return Math.max(...rates);
}

const bytesOf = ({ paging }: ModelRunner) => paging?.layers.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0;

interface Measured {
  /** Of each block. */
  readonly ms: readonly number[];
  /** Of all threads: on a software adapter the device's time, too, and the same whoever else uses the machine. */
  readonly cpuMs: number;
  readonly bytes: number;
}

/** Of reading the prompt, and of a reply. */
async function reply(runner: ModelRunner, submits = { count: 0 }) {
  const blocks = allBlocks(runner);
  const measured = async (work: (done: () => void) => Promise<unknown>): Promise<Measured> => {
    const before = bytesOf(runner);
    const cpu = process.cpuUsage();
    const ends = [performance.now()];
    await work(() => ends.push(performance.now()));
    const { user, system } = process.cpuUsage(cpu);
    return {
      ms: ends.slice(1).map((end, i) => end - ends[i]),
      cpuMs: (user + system) / 1e3,
      bytes: bytesOf(runner) - before,
    };
  };
  runner.setSampling(0, { ...GREEDY, maxTokens: TOKENS + 1 }, PROMPT);
  const prefill = await measured((done) =>
    runner.prefill([{ tokens: PROMPT, position: 0, slot: 0, blocks, sample: true }]).then(done),
  );
  const before = submits.count;
  // Two steps in flight, as the engine has them.
  const decode = await measured(async (done) => {
    let last: Promise<unknown> | undefined;
    for (let i = 1; i <= TOKENS; i++) {
      const step = runner.decode([{ slot: 0, position: PROMPT.length + i - 1, blocks }]);
      await last;
      if (i > 1 && (i - 1) % BLOCK === 0) done();
      last = step;
    }
    await last;
    done();
  });
  return { prefill, decode, submits: submits.count - before };
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1];
