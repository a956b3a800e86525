import { expect, it } from "vitest";
import { allBlocks } from "../../../src/engine/runner.ts";
import { bindWeights } from "../../../src/models/qwen3-next/bind-weights.ts";
import { parseConfig } from "../../../src/models/qwen3-next/config.ts";
import { ReferenceRunner } from "../../../src/reference/reference-runner.ts";
import { FileListSource } from "../../../src/weights/file-list-source.ts";
import { openCheckpoint } from "../../../src/weights/open-checkpoint.ts";
import { expectClose } from "../../support/compare.ts";
import { loadGpuModel } from "../../support/gpu-model.ts";
import { toFiles } from "../../support/model-files.ts";
import { fixtureTensors, quantizedModel, shortened } from "../../support/quantized-model.ts";
import { QUANTIZERS } from "../../support/quantizers.ts";

/** Embedding, head and stacked experts in q4a; the gates of the delta rule stay bf16. */
it("a model of MLX in 4 bits computes on the GPU what the reference does", async () => {
  const { config, tensors } = shortened(await fixtureTensors("qwen3-next-tiny"));
  const { files } = quantizedModel(config, tensors, QUANTIZERS.find(({ name }) => name === "MLX of 4 bits")!);
  const checkpoint = await openCheckpoint(new FileListSource(toFiles(files)));
  const model = parseConfig(checkpoint.config);
  const limits = { maxContext: 64, maxBatchTokens: 16, snapshots: 1, usableVocabulary: model.vocabularySize };
  const reference = await ReferenceRunner.load(bindWeights(model, checkpoint), {
    ...{ config: model, quantization: "auto" as const, ...limits },
  });
  const runner = await loadGpuModel(checkpoint, limits);
  try {
    const tokens = [11, 48, 85, 122, 159, 196, 233, 270, 307];
    const score = { tokens, position: 0, slot: 0 };
    const expected = await reference.score({ ...score, blocks: allBlocks(reference) }, true);
    const actual = await runner.score({ ...score, blocks: allBlocks(runner) }, true);
    expect(actual.logits.length).toBe(tokens.length * model.vocabularySize);
    expectClose(actual.logits, expected.logits, 1e-5, "logits");
  } finally {
    runner.dispose();
    reference.dispose();
  }
});
