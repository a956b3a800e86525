import { readFile } from "node:fs/promises";
import { test } from "vitest";
import { divergence } from "../accuracy/divergence.ts";
import { decodedLogits, scoredLogits, withFormat } from "../accuracy/rounding.ts";

const { SLUICE_SPROUT: folder = "demo/public/models/sprout", SLUICE_BENCH_TOKENS = "512" } = process.env;

const WAYS = [
  { name: "fused decode", options: { fused: true } },
  { name: "f16 cache", options: { dtype: "f16" } },
  { name: "both", options: { dtype: "f16", fused: true } },
] as const;

/**
 * Prints how far rounded activations and a rounded cache move Sprout's probabilities on held-out text, SLUICE_BENCH_TOKENS
 * of each of six texts: by mean KL from the same weights with everything in f32. SLUICE_SPROUT names the bf16 original.
 */
test.for(["q4", "q4a", "q8"] as const)("rounding, weights in %s", async (format) => {
  const texts: { ids: number[] }[] = JSON.parse(await readFile("test/fixtures/sprout-heldout.json", "utf8"));
  const read = texts.map(({ ids }) => ids.slice(0, Number(SLUICE_BENCH_TOKENS)));
  await withFormat(folder, format, async (open) => {
    const logitsOf = async (options: Parameters<typeof open>[0], logits: typeof scoredLogits) => {
      const runner = await open(options);
      const all: Float32Array[] = [];
      for (const ids of read) all.push(...(await logits(runner, ids)));
      runner.dispose();
      return all;
    };
    const expected = await logitsOf({}, scoredLogits);
    for (const { name, options } of WAYS) {
      const { meanKl, largestKl, agreement, tokens } = divergence(expected, await logitsOf(options, decodedLogits));
      console.log(
        `${format}, ${name}: mean KL ${meanKl.toExponential(2)}, largest ${largestKl.toExponential(2)}, ` +
          `same likeliest token ${(100 * agreement).toFixed(2)} % of ${tokens}`,
      );
    }
  });
});
