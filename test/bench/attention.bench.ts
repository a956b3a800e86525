import { isSoftware } from "../../src/gpu/profile.ts";
import { attention } from "../../src/ops/gpu/attention.ts";
import type { AttentionShape } from "../../src/ops/ops.ts";
import { testDevice } from "../support/gpu.ts";
import { type BenchCase, bench } from "./bench.ts";

const shapes: Readonly<Record<string, AttentionShape>> = {
  Sprout: { queryHeads: 2, keyValueHeads: 1, headDim: 256, rotaryDim: 64 },
  "80B": { queryHeads: 16, keyValueHeads: 2, headDim: 256, rotaryDim: 64 },
};

const blockTokens = 64;

/** `count` tokens that follow `position` others, with an f16 cache. */
function attend(model: string, position: number, count: number): BenchCase {
  const shape = shapes[model];
  const { queryHeads, keyValueHeads, headDim } = shape;
  const blocks = Math.ceil((position + count) / blockTokens);
  const tokenBytes = keyValueHeads * headDim * 2;
  const seen = count * position + (count * (count + 1)) / 2;
  return {
    name: `${model}, ${count} at ${position}`,
    bytes: 2 * (position + count) * tokenBytes,
    flops: 4 * seen * queryHeads * headDim,
    options: { limits: { maxTokens: count, maxSequences: 1, maxBlocks: blocks, blockTokens } },
    record: (harness) => {
      const kind = count === 1 ? "decode" : "prefill";
      const words = (columns: number) => new Float32Array(count * columns).fill(0.5);
      const cache = (label: string) => harness.buffer(label, new Uint32Array((blocks * blockTokens * tokenBytes) / 4));
      harness.writeBatch([
        { tokens: new Uint32Array(count), position, slot: 0, blocks: Array.from({ length: blocks }, (_, i) => i) },
      ]);
      const columns = queryHeads * headDim;
      const queries = harness.input("queries", count, columns, words(columns));
      const width = 2 * columns + 2 * keyValueHeads * headDim;
      const qkv = harness.input("qkv", count, width, words(width));
      const kv = { kind: "kv", format: "f16", keys: cache("keys"), values: cache("values") } as const;
      const batch = { maxTokens: count, maxSequences: 1, kind } as const;
      harness.output(attention(harness.context, queries, qkv, shape, kv, batch));
    },
  };
}

/** What would keep a CPU busy for minutes. */
const long = [
  attend("80B", 32_767, 1),
  attend("80B", 262_143, 1),
  attend("80B", 0, 4096),
  attend("80B", 32_768, 512),
  attend("80B", 32_768, 64),
];

bench(
  "attention",
  Object.keys(shapes)
    .flatMap((model) => [
      attend(model, 1023, 1),
      attend(model, 4095, 1),
      attend(model, 16383, 1),
      attend(model, 0, 512),
      attend(model, 4096, 512),
    ])
    .concat(isSoftware((await testDevice()).adapter.info) ? [] : long),
);
