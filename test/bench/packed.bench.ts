import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, test } from "vitest";
import { runnerOptions } from "../../src/api/load-options.ts";
import { Device } from "../../src/gpu/device.ts";
import { bindWeights } from "../../src/models/qwen3-next/bind-weights.ts";
import { packItems } from "../../src/models/qwen3-next/pack-items.ts";
import { SHAPES } from "../../src/models/qwen3-next/shapes.ts";
import { syntheticModel } from "../../src/models/qwen3-next/synthetic.ts";
import { convertWeights, weightLeaves } from "../../src/models/qwen3-next/weights.ts";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import { PackFolder } from "../../src/platform/node/pack-folder.ts";
import { ModelRunner } from "../../src/runner/model-runner.ts";
import { dataBytes, scaleBytes, type WeightRows, type WeightSource } from "../../src/weights/format.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import { MANIFEST } from "../../src/weights/packed/manifest.ts";
import { writePack } from "../../src/weights/packed/write-pack.ts";
import { deviceFormat } from "../../src/weights/plan-format.ts";
import { openTestGpu } from "../support/gpu.ts";

/** A folder to make the model in (3 GB), or where it is already. */
const folder = process.env.SLUICE_BENCH_FOLDER;
/** A published shape with fewer layers, tokens and experts: no buffer is larger than software adapters allow. */
const model = syntheticModel({
  ...SHAPES["qwen3.5-35b-a3b"],
  ...{ num_hidden_layers: 24, vocab_size: 32000, num_experts: 64 },
});

/** Rates of a packed store from the page cache, one layer of work after the other: reading, hashing, uploading. */
const bench = folder ? test : test.skip;

beforeAll(async () => {
  if (!folder) return;
  if (existsSync(join(folder, MANIFEST))) return;
  const sources = convertWeights(model.sources, madeUp);
  const target = await PackFolder.create(folder);
  await timed("packing made-up weights", () =>
    writePack(target, model.checkpoint, packItems(sources, { quantization: "q4" })).then((manifest) =>
      manifest.shards.reduce((sum, { bytes }) => sum + bytes, 0),
    ),
  );
  await target.close();
});

afterAll(() => console.log(`${Math.round(process.memoryUsage().rss / 1e6)} MB of memory in the end`));

bench("files, 4 MB at a time", async () => {
  const files = await FolderSource.open(folder!);
  const shards = (await files.list()).filter((name) => name.endsWith(".bin"));
  await timed("reading files", async () => {
    let bytes = 0;
    for (const file of shards) {
      const size = (await files.size(file))!;
      for (let from = 0; from < size; from += 16e6) {
        const starts = [0, 4e6, 8e6, 12e6].map((at) => from + at).filter((at) => at < size);
        const parts = await Promise.all(
          starts.map((at) => files.read(file, { from: at, to: Math.min(at + 4e6, size) })),
        );
        for (const part of parts) bytes += part.length;
      }
    }
    return bytes;
  });
  await files.close();
});

bench("parts with their hashes", async () => {
  const checkpoint = await openCheckpoint(await FolderSource.open(folder!));
  await timed("reading and hashing", () => readAll(weightLeaves(bindWeights(model.config, checkpoint))));
  await timed("reading once more", () => readAll(weightLeaves(bindWeights(model.config, checkpoint))));
  await checkpoint.close();
});

bench("to the device", async () => {
  const checkpoint = await openCheckpoint(await FolderSource.open(folder!));
  const device = await Device.open(await openTestGpu());
  let loadedMs = 0;
  let loadedBytes = 0;
  const start = performance.now();
  const runner = await ModelRunner.load(bindWeights(model.config, checkpoint), {
    ...runnerOptions(model.config, { quantization: "auto", maxContext: 64 }),
    ...{ kvFormat: "f32", snapshots: 1, maxBatchTokens: 64, device },
    onBytes: (bytes) => {
      loadedBytes = bytes;
    },
    onCompile: () => {
      loadedMs = performance.now() - start;
    },
  });
  print("reading, hashing, uploading", loadedBytes, loadedMs);
  runner.dispose();
  await checkpoint.close();
});

bench("one expert", async () => {
  const files = await FolderSource.open(folder!);
  const checkpoint = await openCheckpoint(files);
  const { feedForward } = bindWeights(model.config, checkpoint).layers[1];
  if (feedForward.kind !== "moe") throw new Error("no experts");
  const { gateUp, down, experts } = feedForward.experts;
  const [I2, H] = [gateUp.rows / experts, down.rows / experts];
  await timed("experts, one by one", async () => {
    let bytes = 0;
    for (let e = 0; e < experts; e++) {
      const rows = await Promise.all([gateUp.read(e * I2, (e + 1) * I2), down.read(e * H, (e + 1) * H)]);
      bytes += rows.reduce((sum, { data, scales }) => sum + data.length + scales!.length, 0);
    }
    return bytes;
  });
  await checkpoint.close();
});

async function readAll(leaves: readonly WeightSource[]): Promise<number> {
  let bytes = 0;
  for (const { rows, partRows, read } of leaves) {
    const starts = Array.from({ length: Math.ceil(rows / partRows!) }, (_, i) => i * partRows!).values();
    const work = async () => {
      for (const from of starts) {
        const { data, scales } = await read(from, Math.min(from + partRows!, rows));
        bytes += data.length + (scales?.length ?? 0);
      }
    };
    await Promise.all([work(), work(), work(), work()]);
  }
  return bytes;
}

async function timed(name: string, work: () => Promise<number>): Promise<void> {
  const start = performance.now();
  const bytes = await work();
  print(name, bytes, performance.now() - start);
}

const print = (name: string, bytes: number, ms: number) =>
  console.log(
    `${name}: ${(bytes / 1e6).toFixed(0)} MB in ${(ms / 1e3).toFixed(2)} s, ${(bytes / ms / 1e6).toFixed(2)} GB/s`,
  );

/** A source in the format that it would be packed in. Which bytes it has is of no importance to its speed. */
function madeUp(source: WeightSource): WeightSource {
  const format = deviceFormat(source, "q4");
  const { columns } = source;
  const read = async (from: number, to: number): Promise<WeightRows> => {
    const elements = (to - from) * columns;
    const data = new Uint8Array(dataBytes(format, elements));
    for (let i = 0; i < data.length; i += 4096) data[i] = (i >> 12) * 31 + from;
    const scales = scaleBytes(format, elements);
    return { format, columns, rows: to - from, data, ...(scales > 0 && { scales: new Uint8Array(scales) }) };
  };
  return { ...source, format, read };
}
