import { test } from "vitest";
import { allBlocks } from "../../src/engine/runner.ts";
import { bindWeights } from "../../src/models/qwen3-next/bind-weights.ts";
import { parseConfig } from "../../src/models/qwen3-next/config.ts";
import { convertWeights } from "../../src/models/qwen3-next/weights.ts";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import type { ModelRunner } from "../../src/runner/model-runner.ts";
import type { WeightSource } from "../../src/weights/format.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import { loadGpuSources } from "../support/gpu-model.ts";
import { GREEDY } from "../support/greedy.ts";

const TOKENS = 48;
const PROMPT = Array.from({ length: 64 }, (_, i) => (i * i * 7 + 3) % 8000);

/** Bytes a second that the store gives, whatever the number of readers. */
const SPEEDS = [20e6, 100e6, Number.POSITIVE_INFINITY];

/** Sprout with a quarter of its experts on the device, from a store of a known speed. */
test("decode at 25 % beside resident time + bytes / bandwidth", { timeout: 600_000 }, async () => {
  const checkpoint = await openCheckpoint(await FolderSource.open("demo/public/models/sprout"));
  const config = parseConfig(checkpoint.config);
  const options = { dtype: "f16", maxContext: 256, maxBatchTokens: 64 } as const;
  const open = (bytesPerSecond: number, expertSlots?: number) => {
    let free = 0;
    const sources = convertWeights(
      bindWeights(config, checkpoint),
      (source): WeightSource => ({
        ...source,
        async read(from, to, signal) {
          const rows = await source.read(from, to, signal);
          if (!expertSlots || bytesPerSecond === Number.POSITIVE_INFINITY || !source.label.includes("experts."))
            return rows;
          const now = performance.now();
          free = Math.max(free, now) + (1e3 * (rows.data.byteLength + (rows.scales?.byteLength ?? 0))) / bytesPerSecond;
          await new Promise((resolve) => setTimeout(resolve, free - now));
          return rows;
        },
      }),
    );
    return loadGpuSources(sources, config, { ...options, expertSlots });
  };
  const resident = await open(0);
  const { ms: residentMs } = await decode(resident);
  resident.dispose();
  for (const bytesPerSecond of SPEEDS) {
    const paged = await open(bytesPerSecond, 6);
    const { ms: pagedMs, bytes } = await decode(paged);
    const floorMs = residentMs + (1e3 * bytes) / bytesPerSecond;
    const of = (key: "hits" | "misses" | "readAhead" | "useful" | "foretellable" | "foretold") =>
      paged.paging!.layers.reduce((sum, layer) => sum + layer[key], 0);
    console.log(
      `${bytesPerSecond / 1e6} MB/s: resident ${residentMs.toFixed(1)} ms, paged ${pagedMs.toFixed(1)} ms a token, ` +
        `${(bytes / 1e3).toFixed(0)} KB a token, ${(pagedMs / floorMs).toFixed(2)} × the floor of ${floorMs.toFixed(1)} ms; ` +
        `hits ${(of("hits") / (of("hits") + of("misses"))).toFixed(2)}, read ahead ${of("readAhead")}, ` +
        `useful ${(of("useful") / of("readAhead")).toFixed(2)}, foretold ${(of("foretold") / of("foretellable")).toFixed(2)}`,
    );
    paged.dispose();
  }
  await checkpoint.close();
});

const bytesOf = ({ paging }: ModelRunner) => paging?.layers.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0;

/** Milliseconds and bytes a token; of two replies to the same prompt the faster. */
async function decode(runner: ModelRunner): Promise<{ ms: number; bytes: number }> {
  const blocks = allBlocks(runner);
  const runs: { ms: number; bytes: number }[] = [];
  for (let run = 0; run < 2; run++) {
    runner.setSampling(0, { ...GREEDY, maxTokens: TOKENS + 1 }, PROMPT);
    await runner.prefill([{ tokens: PROMPT, position: 0, slot: 0, blocks, sample: true }]);
    const before = bytesOf(runner);
    const start = performance.now();
    for (let i = 0; i < TOKENS; i++) await runner.decode([{ slot: 0, position: PROMPT.length + i, blocks }]);
    runs.push({ ms: (performance.now() - start) / TOKENS, bytes: (bytesOf(runner) - before) / TOKENS });
  }
  return runs.sort((a, b) => a.ms - b.ms)[0];
}
