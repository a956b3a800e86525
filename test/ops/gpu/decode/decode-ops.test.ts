import { beforeAll, describe, expect, test } from "vitest";
import type { Quantization } from "../../../../src/api/types.ts";
import type { Sampled } from "../../../../src/engine/runner.ts";
import { Device } from "../../../../src/gpu/device.ts";
import type { DeviceProfile } from "../../../../src/gpu/profile.ts";
import { syntheticModel } from "../../../../src/models/qwen3-next/synthetic.ts";
import { convertWeights } from "../../../../src/models/qwen3-next/weights.ts";
import { canFuse } from "../../../../src/ops/gpu/decode/fused.ts";
import { ModelRunner } from "../../../../src/runner/model-runner.ts";
import { synthesizeWeight } from "../../../../src/runner/synthesize.ts";
import type { WeightFormat } from "../../../../src/weights/format.ts";
import { openTestGpu } from "../../../support/gpu.ts";
import { GREEDY } from "../../../support/greedy.ts";
import { TINY } from "../../../support/tiny-model.ts";

/** Four layers, one of them attention, with heads that fill a subgroup's vectors. */
const SMALL = {
  ...TINY,
  num_hidden_layers: 4,
  full_attention_interval: 4,
  linear_value_head_dim: 64,
  linear_key_head_dim: 32,
};

const NOT_FUSIBLE = "this adapter lacks what fused kernels need";

/** Logits' relative error beside the same ops one by one; measured on lavapipe: 8 bits 5.1e-4, the others at most 2.3e-4. */
interface Case {
  readonly name: string;
  readonly json: Record<string, unknown>;
  readonly quantization: Quantization;
  /** The format of matrices in the checkpoint, where it is not bf16. */
  readonly stored?: WeightFormat;
  readonly limit: number;
}

const CASES = [
  { name: "4 bits", json: SMALL, quantization: "q4", limit: 5e-4 },
  { name: "4 bits with a min", json: SMALL, quantization: "auto", stored: "q4a", limit: 5e-4 },
  { name: "8 bits", json: SMALL, quantization: "q8", limit: 6e-4 },
  { name: "a wide layer", json: { ...SMALL, hidden_size: 352, num_experts: 40 }, quantization: "q4", limit: 5e-4 },
  { name: "thousands of rows", json: { ...SMALL, linear_num_value_heads: 32 }, quantization: "q4", limit: 5e-4 },
  { name: "value heads narrower than a block", json: TINY, quantization: "q4", limit: 5e-4 },
] satisfies Case[];

/** Logits of some decoded tokens after a prompt, of the first of `rows` sequences with prompts of their own. */
async function decode({ json, quantization, stored }: Case, profile: Partial<DeviceProfile>, rows = 1) {
  const device = await Device.open(await openTestGpu());
  Object.assign(device.profile, profile);
  const { config, sources: made } = syntheticModel(json);
  const sources = convertWeights(made, (source) =>
    stored && source.role === "matrix" ? { ...source, format: stored, auto: stored } : source,
  );
  const runner = await ModelRunner.load(sources, {
    device,
    config,
    quantization,
    kvFormat: "f32",
    maxContext: 64,
    maxSequences: rows,
    cacheTokens: 64 * rows,
    maxBatchTokens: 64,
    snapshots: 1,
    usableVocabulary: config.vocabularySize,
    loadWeight: synthesizeWeight,
  });
  const sequences = Array.from({ length: rows }, (_, slot) => ({ slot, blocks: [slot], logits: true }));
  const drawn: Sampled[] = [];
  for (const sequence of sequences) {
    const { slot } = sequence;
    runner.setSampling(slot, GREEDY, []);
    drawn.push(
      (await runner.prefill([{ ...sequence, tokens: [5 + slot, 17, 3, 80 - slot, 9], position: 0, sample: true }]))[0]!,
    );
  }
  const logits = [drawn[0].logits!];
  for (let i = 0; i < 9; i++) {
    const position = 5 + i;
    const step = await runner.decode(
      sequences.map((s, r) => ({ ...s, position, token: i === 0 ? drawn[r].token : undefined })),
    );
    logits.push(step[0]!.logits!);
  }
  const kernels = rows === 1 ? runner.decodeKernels : (await runner.profile("decode")).kernels.map((k) => k.kernel);
  const isFusible = canFuse(device.profile);
  runner.dispose();
  return { logits, kernels, isFusible };
}

function expectAlike(actual: readonly Float32Array[], expected: readonly Float32Array[], limit: number): void {
  expected.forEach((logits, step) => {
    const size = Math.hypot(...logits) || 1;
    const error = Math.hypot(...logits.map((value, i) => value - actual[step][i])) / size;
    expect(error, `step ${step}`).toBeLessThan(limit);
  });
}

describe("one token by fused kernels", () => {
  let isFusible = false;
  beforeAll(async () => {
    const device = await Device.open(await openTestGpu());
    isFusible = canFuse(device.profile);
    device.dispose();
  });

  test.for(CASES)("gives what ops one by one give: $name", async (shape, { skip }) => {
    skip(!isFusible, NOT_FUSIBLE);
    const plain = await decode(shape, { fuseDecode: false });
    const fused = await decode(shape, { fuseDecode: true });
    expect(fused.kernels.length).toBeLessThan(plain.kernels.length);
    expectAlike(fused.logits, plain.logits, shape.limit);
    const amongFour = await decode(shape, { fuseDecode: true }, 4);
    expectAlike(amongFour.logits, plain.logits, shape.limit);
  });

  test("gives a row the same to the last bit, whatever else is in the batch", async ({ skip }) => {
    skip(!isFusible, NOT_FUSIBLE);
    // Devices that multiply matrices do so from some number of rows on.
    const amongFour = await decode(CASES[0], { fuseDecode: true, matrix: undefined }, 4);
    const amongTwelve = await decode(CASES[0], { fuseDecode: true, matrix: undefined }, 12);
    expect(amongTwelve.logits).toEqual(amongFour.logits);
    // Ten a gated delta layer, eleven an attention layer; the last mix with the last norm, head and drawing besides.
    expect(amongFour.kernels.length).toBe(1 + 3 * 10 + 11 + 2 + 3);
  });

  test("has six dispatches for a gated delta layer and eight for an attention layer", async ({ skip }) => {
    skip(!isFusible, NOT_FUSIBLE);
    const { kernels } = await decode(CASES[0], { fuseDecode: true });
    expect(kernels.length).toBe(1 + 3 * 6 + 8 + 1 + 3);
  });
});
