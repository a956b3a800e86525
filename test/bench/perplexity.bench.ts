import { readFile } from "node:fs/promises";
import { test } from "vitest";
import { type OpenedModel, withModel, withRunner } from "../../src/cli/open-runner.ts";
import { convertWeights } from "../../src/models/qwen3-next/weights.ts";
import { canQuantize, encodeRows } from "../../src/weights/convert.ts";
import { decodeRows, Q4_SHIFTS } from "../../src/weights/decode.ts";
import { GROUP, type WeightRows, type WeightSource } from "../../src/weights/format.ts";
import { floatToHalf, halfToFloat } from "../../src/weights/half.ts";

const { SLUICE_BENCH_MODEL: folder, SLUICE_BENCH_TEXTS: file, SLUICE_BENCH_TOKENS: limit = "Infinity" } = process.env;

/** What matrices become; embedding and head follow `quantization`, which leaves 4-bit sources alone. */
const WAYS = [
  { name: "f32", quantization: "f32" },
  { name: "q8", quantization: "q8" },
  { name: "q4, rounded to nearest", quantization: "q4", encode: roundToQ4 },
  { name: "q4", quantization: "q4", encode: encodeAs("q4") },
  { name: "q4a", quantization: "q4", encode: encodeAs("q4a") },
] as const;

/**
 * Prints the perplexity of the checkpoint SLUICE_BENCH_MODEL on SLUICE_BENCH_TEXTS, a JSON line { ids } for each text, at
 * most SLUICE_BENCH_TOKENS of them, with its matrices in each format.
 */
test.skipIf(!folder || !file).each(WAYS)("perplexity in $name", async ({ name, quantization, ...how }) => {
  const encode = "encode" in how ? how.encode : undefined;
  const lines = (await readFile(file!, "utf8")).trim().split("\n");
  const texts: number[][] = lines.map((line) => JSON.parse(line).ids);
  await withModel(folder!, async (model) => {
    const sources = convertWeights(model.sources, (source) => (encode ? encoded(source, encode) : source));
    const { perplexity, tokens } = await measure({ ...model, sources }, quantization, texts);
    console.log(`${name}: perplexity ${perplexity.toFixed(3)} over ${tokens} tokens`);
  });
});

/** Tokens of a text at most. */
const CONTEXT = 1024;

async function measure(model: OpenedModel, quantization: "f32" | "q8" | "q4", texts: readonly number[][]) {
  let sum = 0;
  let count = 0;
  await withRunner(model, { dtype: "f32", quantization, context: CONTEXT }, async ({ runner }) => {
    const blocks = Array.from({ length: CONTEXT / runner.limits.blockTokens }, (_, i) => i);
    for (const ids of texts) {
      if (count >= Number(limit)) break;
      const { logits } = await runner.score({ tokens: ids, position: 0, slot: 0, blocks }, false);
      const columns = logits.length / ids.length;
      for (let i = 0; i + 1 < ids.length; i++) {
        const row = logits.subarray(i * columns, (i + 1) * columns);
        const largest = row.reduce((most, value) => Math.max(most, value));
        sum += Math.log(row.reduce((total, value) => total + Math.exp(value - largest), 0)) + largest - row[ids[i + 1]];
        count++;
      }
    }
  });
  return { perplexity: Math.exp(sum / count), tokens: count };
}

type Encode = (values: Float32Array, columns: number) => WeightRows;

function encoded(source: WeightSource, encode: Encode): WeightSource {
  if (source.role !== "matrix" || !canQuantize(source.columns)) return source;
  const { format } = encode(new Float32Array(GROUP), GROUP);
  const read: WeightSource["read"] = async (...range) =>
    encode(decodeRows(await source.read(...range)), source.columns);
  return { ...source, format, auto: format, read };
}

function encodeAs(format: "q4" | "q4a"): Encode {
  return (values, columns) => encodeRows(values, columns, format, "bench");
}

/** The largest weight of 32 on −8, the others on the nearest level. */
function roundToQ4(values: Float32Array, columns: number): WeightRows {
  const data = new Uint32Array(values.length / 8);
  const scales = new Uint16Array(values.length / GROUP);
  for (let start = 0; start < values.length; start += GROUP) {
    const group = values.subarray(start, start + GROUP);
    const largest = group.reduce((most, value) => (Math.abs(value) > Math.abs(most) ? value : most), 0);
    scales[start / GROUP] = floatToHalf(largest / -8);
    const scale = halfToFloat(scales[start / GROUP]);
    group.forEach((value, i) => {
      const level = scale === 0 ? 8 : Math.max(0, Math.min(15, Math.round(value / scale) + 8));
      data[(start + i) >> 3] |= level << Q4_SHIFTS[i % 8];
    });
  }
  const bytes = (view: ArrayBufferView) => new Uint8Array(view.buffer as ArrayBuffer);
  return { format: "q4", rows: values.length / columns, columns, data: bytes(data), scales: bytes(scales) };
}
