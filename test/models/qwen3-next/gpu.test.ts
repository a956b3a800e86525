import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Runner } from "../../../src/engine/runner.ts";
import { allBlocks } from "../../../src/engine/runner.ts";
import type { ModelRunner, Scores } from "../../../src/runner/model-runner.ts";
import { expectClose } from "../../support/compare.ts";
import { type Golden, readGolden } from "../../support/golden.ts";
import { adapterFeatures } from "../../support/gpu.ts";
import { type GpuModelOptions, openGpuModel } from "../../support/gpu-model.ts";
import { greedyReply } from "../../support/greedy.ts";
import { FIXTURES, fixtureFolder, openReferenceRunner } from "../../support/reference-model.ts";

/**
 * Quantised on load, the GPU and the reference hold the same weights, and differ by 7e-7 at most. From the golden run they
 * differ by the format's own error, which random weights without any redundancy exaggerate, as do routers whose choices
 * are nearly ties. Measured: qwen3-next-tiny q8 0.096, q4 0.385 (-yarn 0.125, 0.454; 3.5-moe 0.059, 0.368); 3.5-dense q8
 * 0.027, q4 0.309.
 */
const QUANTIZED = [
  { format: "q8", limit: 0.15 },
  { format: "q4", limit: 0.5 },
] as const;

const features = await adapterFeatures();

/** Logits' relative error, measured on lavapipe: f32 1.4e-6 with and without subgroups, f16 3.1e-5. */
const LIMITS = { f32: 2e-4, f16: 5e-3 };

describe.each(FIXTURES)("%s on the GPU", (fixture) => {
  let golden: Golden;
  let runner: ModelRunner;

  beforeAll(async () => {
    golden = await readGolden(fixture);
    runner = await openGpuModel(fixtureFolder(fixture));
  });
  afterAll(() => runner.dispose());

  test("logits, hidden states and experts are those of the golden run", async () => {
    const scores = await score(runner, golden.tokens);
    scores.hidden.forEach((hidden, i) => {
      expectClose(hidden, golden.hidden[i], LIMITS.f32, `hidden state ${i}`);
    });
    expectClose(scores.logits, golden.logits, LIMITS.f32, "logits");
    for (const [layer, ids] of scores.experts.entries()) {
      expect(differentChoices(ids, golden.router[layer], golden.tokens.length), `layer ${layer}`).toBe(0);
    }
  });

  test("a greedy reply is that of the golden run, however the prompt is cut", async () => {
    for (const cut of [0, 1, 2, 3, 63, 64, 65]) {
      expect(await greedyReply(runner, golden.tokens, { cuts: [cut] }), `prompt cut at ${cut}`).toEqual(golden.greedy);
    }
  });

  test("a prompt in micro-batches of 64 gives what it gives as a whole", async () => {
    await using(fixture, { maxBatchTokens: 64 }, async (small) => {
      const logits = await score(small, golden.tokens);
      expectClose(logits.logits, golden.logits, LIMITS.f32, "logits");
      expect(await greedyReply(small, golden.tokens)).toEqual(golden.greedy);
    });
  });
});

/** One with and one without experts: each variant compiles all shaders anew, which software adapters take long for. */
describe.each(["qwen3-next-tiny", "qwen3.5-dense-tiny"])("%s on the GPU, otherwise", async (fixture) => {
  const golden = await readGolden(fixture);

  test.skipIf(!features.has("subgroups"))(
    "without subgroups it is the same (skipped where there are none)",
    async () => {
      await using(fixture, { withoutSubgroups: true }, async (plain) => {
        expectClose((await score(plain, golden.tokens)).logits, golden.logits, LIMITS.f32, "logits");
        expect(await greedyReply(plain, golden.tokens)).toEqual(golden.greedy);
      });
    },
  );

  test.skipIf(!features.has("shader-f16"))("in f16 it is close (skipped where there is none)", async () => {
    await using(fixture, { dtype: "f16" }, async (half) => {
      expectClose((await score(half, golden.tokens)).logits, golden.logits, LIMITS.f16, "logits");
    });
  });

  test.each(QUANTIZED)(
    "in $format it computes what the reference does, within the format's error",
    async (quantized) => {
      const { format: quantization, limit } = quantized;
      const reference = await openReferenceRunner(fixtureFolder(fixture), { quantization });
      const expected = await score(reference, golden.tokens);
      await using(fixture, { quantization }, async (runner) => {
        const actual = await score(runner, golden.tokens);
        expectClose(actual.logits, expected.logits, 1e-5, "logits beside the reference's");
        expectClose(actual.logits, golden.logits, limit, "logits beside the golden run's");
      });
    },
  );
});

async function using(fixture: string, options: GpuModelOptions, use: (runner: ModelRunner) => Promise<void>) {
  const runner = await openGpuModel(fixtureFolder(fixture), options);
  try {
    await use(runner);
  } finally {
    runner.dispose();
  }
}

type Scorer = Runner & Pick<ModelRunner, "score">;

/** Scores of a text, read in steps of what the runner takes at once. */
async function score(runner: Scorer, tokens: readonly number[]): Promise<Scores> {
  const { maxBatchTokens } = runner.limits;
  const parts: Scores[] = [];
  for (let position = 0; position < tokens.length; position += maxBatchTokens) {
    const part = tokens.slice(position, position + maxBatchTokens);
    parts.push(await runner.score({ tokens: part, position, slot: 0, blocks: allBlocks(runner) }, true));
  }
  if (parts.length === 1) return parts[0];
  return { logits: Float32Array.from(parts.flatMap(({ logits }) => [...logits])), hidden: [], experts: [] };
}

/** Rows whose sets of experts differ. */
function differentChoices(ids: Uint32Array, expected: Int32Array, rows: number): number {
  const k = expected.length / rows;
  let different = 0;
  for (let row = 0; row < rows; row++) {
    const set = (all: ArrayLike<number>) => Array.from({ length: k }, (_, i) => all[row * k + i]).sort((a, b) => a - b);
    if (set(ids).join() !== set(expected).join()) different++;
  }
  return different;
}
