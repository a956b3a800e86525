import { byMatrices, recurrent, streamed } from "../../src/ops/gpu/delta.ts";
import type { DeltaShape } from "../../src/ops/ops.ts";
import { deltaChannels } from "../../src/reference/host-state.ts";
import { KernelHarness } from "../support/kernel-harness.ts";
import { normals } from "../support/random.ts";
import { type BenchCase, bench } from "./bench.ts";

const shapes: Readonly<Record<string, DeltaShape>> = {
  Sprout: { keyHeads: 2, valueHeads: 4, keyDim: 128, valueDim: 128, convTaps: 4 },
  "80B": { keyHeads: 16, valueHeads: 32, keyDim: 128, valueDim: 128, convTaps: 4 },
};

const algorithms = { recurrent, streamed, byMatrices };

const { profile } = await KernelHarness.create();
const isGpu = !profile.serialWorkgroups;

/** `tokens` of one sequence through one way of the delta rule; operations are those of the recurrence. */
function delta(model: string, tokens: number, name: keyof typeof algorithms): BenchCase {
  const shape = shapes[model];
  const { valueHeads, keyDim, valueDim } = shape;
  const channels = deltaChannels(shape);
  const size = valueHeads * keyDim * valueDim;
  return {
    name: `${model}, ${tokens} tokens, ${name}`,
    bytes: 4 * (2 * size + tokens * (channels + valueHeads * (valueDim + 2))),
    flops: 7 * tokens * size,
    options: { limits: { maxTokens: tokens, maxSequences: 1 } },
    record: (harness) => {
      const state = harness.buffer("state", new Float32Array(size));
      harness.writeBatch([{ tokens: new Uint32Array(tokens), position: 8, slot: 0, blocks: BLOCKS }]);
      const y = algorithms[name](
        harness.context,
        harness.input("qkv", tokens, channels, normals(tokens * channels, 1)),
        harness.input("gates", tokens, 2 * valueHeads, normals(tokens * 2 * valueHeads, 2)),
        {
          shape,
          negA: harness.vector("negA", new Float32Array(valueHeads).fill(-1)),
          dtBias: harness.vector("dtBias", new Float32Array(valueHeads)),
        },
        { kind: "recurrent", conv: state, delta: state },
        { maxTokens: tokens, maxSequences: 1, kind: tokens === 1 ? "decode" : "prefill" },
      );
      harness.output(y);
    },
  };
}

const BLOCKS = Array.from({ length: 16 }, (_, i) => i);

bench("delta", [
  ...Object.keys(shapes).map((model) => delta(model, 1, "recurrent")),
  ...Object.keys(shapes).flatMap((model) =>
    [16, 64, 256, 512].flatMap((tokens) => [delta(model, tokens, "recurrent"), delta(model, tokens, "streamed")]),
  ),
  ...(isGpu ? [delta("80B", 4096, "streamed")] : []),
  ...(isGpu && profile.matrix ? [64, 512, 4096].map((tokens) => delta("80B", tokens, "byMatrices")) : []),
]);
