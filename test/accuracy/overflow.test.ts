import { expect, test } from "vitest";
import { parseConfig } from "../../src/models/qwen3-next/config.ts";
import { tensorShapes } from "../../src/models/qwen3-next/tensor-shapes.ts";
import { relativeError } from "../support/compare.ts";
import { type GpuModelOptions, loadGpuModel } from "../support/gpu-model.ts";
import { madeUp, memoryCheckpoint } from "../support/memory-checkpoint.ts";
import { TINY } from "../support/tiny-model.ts";
import { decodedLogits } from "./rounding.ts";

interface Case {
  readonly name: string;
  /** Tensors that are made larger, and how much. */
  readonly tensors: RegExp;
  readonly factor: number;
  /** Relative error of the logits beside f32. None where values do not fit into an f16 cache, which holds its largest number instead. */
  readonly limit?: number;
}

const CASES: Case[] = [
  { name: "the embedding", tensors: /embed_tokens/, factor: 1e6, limit: 2e-3 },
  { name: "norms", tensors: /(input|post_attention)_layernorm|[^_]norm/, factor: 1e3, limit: 5e-3 },
  { name: "keys, by their norm", tensors: /k_norm/, factor: 1e5, limit: 2e-3 },
  { name: "values within f16", tensors: /v_proj/, factor: 1e4, limit: 2e-3 },
  { name: "values beyond f16", tensors: /v_proj/, factor: 1e5 },
  { name: "experts' hidden values", tensors: /gate_proj|up_proj/, factor: 1e4, limit: 2e-3 },
  { name: "what mixers and experts give", tensors: /down_proj|o_proj|out_proj/, factor: 1e5, limit: 2e-3 },
];

async function logitsOf({ tensors, factor }: Case, options: GpuModelOptions): Promise<Float32Array[]> {
  const shapes = tensorShapes(parseConfig(TINY), { projections: "fused", experts: "single" });
  const values = new Map<string, Float32Array>();
  for (const [name, shape] of shapes) {
    const count = shape.reduce((a, b) => a * b, 1);
    if (tensors.test(name))
      values.set(
        name,
        madeUp(name, count).map((x) => x * factor),
      );
  }
  const checkpoint = memoryCheckpoint(TINY, shapes, { values });
  const runner = await loadGpuModel(checkpoint, { ...options, quantization: "q4", maxContext: 64 });
  const ids = Array.from({ length: 24 }, (_, i) => (i * 37) % TINY.vocab_size);
  const logits = await decodedLogits(runner, ids);
  runner.dispose();
  return logits;
}

test.for(CASES)("large numbers stay numbers: $name", async (shape) => {
  const expected = await logitsOf(shape, { dtype: "f32" });
  const found = await logitsOf(shape, { dtype: "f16", fused: true });
  expected.forEach((logits, i) => {
    expect(found[i].every(Number.isFinite), `token ${i}`).toBe(true);
    if (shape.limit) expect(relativeError(found[i], logits), `token ${i}`).toBeLessThan(shape.limit);
  });
});
