import { describe, expect, test } from "vitest";
import { Device } from "../../../../src/gpu/device.ts";
import type { DeviceProfile } from "../../../../src/gpu/profile.ts";
import { syntheticModel } from "../../../../src/models/qwen3-next/synthetic.ts";
import { canFuse } from "../../../../src/ops/gpu/decode/fused.ts";
import { openGpu } from "../../../../src/platform/node/gpu.ts";
import { ModelRunner } from "../../../../src/runner/model-runner.ts";
import { synthesizeWeight } from "../../../../src/runner/synthesize.ts";
import { testAdapterName } from "../../../support/gpu.ts";
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

const CASES = [
  { name: "4 bits", json: SMALL, quantization: "q4" },
  { name: "8 bits", json: SMALL, quantization: "q8" },
  { name: "a wide layer", json: { ...SMALL, hidden_size: 352, num_experts: 40 }, quantization: "q4" },
  { name: "thousands of rows", json: { ...SMALL, linear_num_value_heads: 32 }, quantization: "q4" },
  { name: "value heads narrower than a block", json: TINY, quantization: "q4" },
] as const;

/** Logits of some decoded tokens after a prompt. */
async function decode({ json, quantization }: (typeof CASES)[number], profile: Partial<DeviceProfile>) {
  const device = await Device.open(await openGpu({ adapter: testAdapterName }));
  Object.assign(device.profile, profile);
  const { config, sources } = syntheticModel(json);
  const runner = await ModelRunner.load(sources, {
    device,
    config,
    quantization,
    kvFormat: "f32",
    maxContext: 256,
    maxBatchTokens: 64,
    snapshots: 1,
    usableVocabulary: config.vocabularySize,
    loadWeight: synthesizeWeight,
  });
  const blocks = Array.from({ length: runner.limits.blocks }, (_, i) => i);
  runner.setSampling(GREEDY, []);
  const first = await runner.prefill(
    { tokens: [5, 17, 3, 80, 9], position: 0, slot: 0, blocks },
    { sample: true, logits: true },
  );
  const logits = [first!.logits!];
  for (let i = 0; i < 9; i++) logits.push((await runner.decode({ logits: true }))!.logits!);
  const kernels = runner.decodeKernels;
  const isFusible = canFuse(device.profile);
  runner.dispose();
  return { logits, kernels, isFusible };
}

describe("one token by fused kernels", () => {
  test.each(CASES)("gives what ops one by one give: $name", async (shape) => {
    const plain = await decode(shape, { fuseDecode: false });
    const fused = await decode(shape, { fuseDecode: true });
    if (!fused.isFusible) return;
    expect(fused.kernels.length).toBeLessThan(plain.kernels.length);
    plain.logits.forEach((expected, step) => {
      const size = Math.hypot(...expected) || 1;
      const error = Math.hypot(...expected.map((value, i) => value - fused.logits[step][i])) / size;
      expect(error, `step ${step}`).toBeLessThan(2e-3);
    });
  });

  test("has six dispatches for a gated delta layer and eight for an attention layer", async () => {
    const { kernels, isFusible } = await decode(CASES[0], { fuseDecode: true });
    if (isFusible) expect(kernels.length).toBe(1 + 3 * 6 + 8 + 1 + 3);
  });
});
