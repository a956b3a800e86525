import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "vitest";
import { allBlocks } from "../../src/engine/runner.ts";
import { bindWeights } from "../../src/models/qwen3-next/bind-weights.ts";
import { parseConfig } from "../../src/models/qwen3-next/config.ts";
import { packItems } from "../../src/models/qwen3-next/pack-items.ts";
import { convertWeights, type ModelWeights } from "../../src/models/qwen3-next/weights.ts";
import { ExpertReader } from "../../src/paging/expert-reader.ts";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import { PackFolder } from "../../src/platform/node/pack-folder.ts";
import type { ModelRunner } from "../../src/runner/model-runner.ts";
import { sparseLayers } from "../../src/runner/paged-experts.ts";
import type { WeightSource } from "../../src/weights/format.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import { writePack } from "../../src/weights/packed/write-pack.ts";
import { loadGpuSources } from "../support/gpu-model.ts";
import { GREEDY } from "../support/greedy.ts";

const TOKENS = 48;
const REPEATS = Number(process.env.SLUICE_BENCH_REPEATS ?? 3);
const PROMPT = Array.from({ length: 64 }, (_, i) => (i * i * 7 + 3) % 8000);

/** Bytes a second that the store gives, whatever the number of readers. */
const SPEEDS = [20e6, 100e6, Number.POSITIVE_INFINITY];

/**
 * Sprout with a quarter of its experts on the device, from a store of a known speed, beside the resident model: replies of both in turn, of each the
 * fastest, since others use the machine, too.
 */
test("replies at 25 % beside resident time + bytes / bandwidth", { timeout: 600_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), "sluice-paging-"));
  await pack("demo/public/models/sprout", folder);
  const checkpoint = await openCheckpoint(await FolderSource.open(folder));
  const config = parseConfig(checkpoint.config);
  const options = { dtype: "f16", maxContext: 256, maxBatchTokens: 64 } as const;
  const bound = bindWeights(config, checkpoint);
  const resident = await loadGpuSources(bound, config, options);
  for (const bytesPerSecond of SPEEDS) {
    const sources = throttled(bound, bytesPerSecond);
    const paged = await loadGpuSources(sources, config, { ...options, expertSlots: 6 });
    const bandwidth = await measuredBandwidth(sources);
    const runs = [];
    for (let i = 0; i <= REPEATS; i++) runs.push({ resident: await reply(resident), paged: await reply(paged) });
    const all = (key: "hits" | "misses" | "readAhead" | "useful" | "foretellable" | "foretold") =>
      paged.paging!.layers.reduce((sum, layer) => sum + layer[key], 0);
    console.log(
      `${bytesPerSecond / 1e6} MB/s, measured ${(bandwidth / 1e6).toFixed(0)}; ` +
        `hits ${(all("hits") / (all("hits") + all("misses"))).toFixed(2)}, read ahead ${all("readAhead")}, ` +
        `useful ${(all("useful") / all("readAhead")).toFixed(2)}, foretold ${(all("foretold") / all("foretellable")).toFixed(2)}`,
    );
    for (const kind of ["prefill", "decode"] as const) {
      const pairs = runs.slice(1).map((run) => ({ resident: run.resident[kind], paged: run.paged[kind] }));
      const [residentMs, pagedMs] = (["resident", "paged"] as const).map((of) =>
        Math.min(...pairs.map((p) => p[of].ms)),
      );
      const bytes = median(pairs.map(({ paged }) => paged.bytes));
      const floorMs = residentMs + (1e3 * bytes) / bandwidth;
      console.log(
        `  ${kind}: resident ${residentMs.toFixed(1)} ms, paged ${pagedMs.toFixed(1)} ms, ${(bytes / 1e3).toFixed(0)} KB, ` +
          `${(pagedMs / floorMs).toFixed(2)} × the floor of ${floorMs.toFixed(1)} ms`,
      );
    }
    paged.dispose();
  }
  resident.dispose();
  await checkpoint.close();
  await rm(folder, { recursive: true });
});

async function pack(from: string, to: string): Promise<void> {
  const checkpoint = await openCheckpoint(await FolderSource.open(from));
  const folder = await PackFolder.create(to);
  const items = packItems(bindWeights(parseConfig(checkpoint.config), checkpoint), { quantization: "auto" });
  await writePack(folder, checkpoint, items);
  await folder.close();
  await checkpoint.close();
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

/** Bytes a second of all experts, read as the pager reads them. */
async function measuredBandwidth(sources: ModelWeights<WeightSource>): Promise<number> {
  const layers = sparseLayers(sources);
  const matrices = layers.map(({ gateUp, down, experts }) =>
    [gateUp, down].map((source) => ({ source, rows: source.rows / experts, format: source.format })),
  );
  const rates: number[] = [];
  for (let i = 0; i < 3; i++) {
    const reader = new ExpertReader(matrices);
    const start = performance.now();
    const read = await Promise.all(
      layers.flatMap(({ experts }, layer) =>
        Array.from({ length: experts }, (_, expert) => reader.read(layer, expert)),
      ),
    );
    const bytes = read.flat().reduce((sum, { data, scales }) => sum + data.byteLength + (scales?.byteLength ?? 0), 0);
    rates.push((1e3 * bytes) / (performance.now() - start));
  }
  return Math.max(...rates);
}

const bytesOf = ({ paging }: ModelRunner) => paging?.layers.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0;

interface Measured {
  readonly ms: number;
  readonly bytes: number;
}

/** Milliseconds and bytes of reading the prompt, and of a token. */
async function reply(runner: ModelRunner): Promise<{ prefill: Measured; decode: Measured }> {
  const blocks = allBlocks(runner);
  const measured = async (count: number, work: () => Promise<unknown>) => {
    const before = bytesOf(runner);
    const start = performance.now();
    await work();
    return { ms: (performance.now() - start) / count, bytes: (bytesOf(runner) - before) / count };
  };
  runner.setSampling(0, { ...GREEDY, maxTokens: TOKENS + 1 }, PROMPT);
  const prefill = await measured(1, () =>
    runner.prefill([{ tokens: PROMPT, position: 0, slot: 0, blocks, sample: true }]),
  );
  // Two steps in flight, as the engine has them.
  const decode = await measured(TOKENS, async () => {
    let last: Promise<unknown> | undefined;
    for (let i = 0; i < TOKENS; i++) {
      const step = runner.decode([{ slot: 0, position: PROMPT.length + i, blocks }]);
      await last;
      last = step;
    }
    await last;
  });
  return { prefill, decode };
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1];
