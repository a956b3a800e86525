import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openGpuModel } from "../../support/gpu-model.ts";
import { greedyReply } from "../../support/greedy.ts";
import { openReferenceRunner } from "../../support/reference-model.ts";

const QUANTIZED = "demo/public/models/sprout";
/** The folder of the bf16 original, which is too large for the repository. */
const ORIGINAL = process.env.SLUICE_SPROUT;

interface ReferenceCase {
  readonly name: string;
  readonly inputIds: number[];
  readonly greedyIds: number[];
}

async function referenceCases(): Promise<ReferenceCase[]> {
  return JSON.parse(await readFile("test/fixtures/sprout-tokenizer/reference.json", "utf8")).cases;
}

test("the Sprout of the demo says on the GPU what its definition says", async () => {
  const cases = (await referenceCases()).slice(0, 3);
  const reference = await openReferenceRunner(QUANTIZED);
  const runner = await openGpuModel(QUANTIZED);
  for (const { name, inputIds } of cases) {
    const expected = await greedyReply(reference, inputIds, { maxTokens: 16 });
    expect(await greedyReply(runner, inputIds, { maxTokens: 16 }), name).toEqual(expected);
  }
  runner.dispose();
}, 300_000);

const reason = ORIGINAL ? "" : " (skipped: SLUICE_SPROUT does not name its folder)";

test.skipIf(!ORIGINAL)(
  `the original Sprout goes on in f32 as transformers does${reason}`,
  async () => {
    const path = join(ORIGINAL!, "reference.json");
    const { cases } = JSON.parse(await readFile(path, "utf8")) as {
      cases: { name: string; input_ids: number[]; greedy_ids: number[] }[];
    };
    expect(cases).toHaveLength(13);
    const runner = await openGpuModel(ORIGINAL!, { quantization: "f32", maxContext: 4096 });
    for (const { name, input_ids: prompt, greedy_ids: expected } of cases) {
      expect(await greedyReply(runner, prompt, { maxTokens: expected.length }), name).toEqual(expected);
    }
    runner.dispose();
  },
  300_000,
);
