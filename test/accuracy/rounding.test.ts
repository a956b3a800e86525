import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { Device } from "../../src/gpu/device.ts";
import { canFuse } from "../../src/ops/gpu/decode/fused.ts";
import { openTestGpu } from "../support/gpu.ts";
import { divergence } from "./divergence.ts";
import { decodedLogits, scoredLogits, withFormat } from "./rounding.ts";

const SPROUT = "demo/public/models/sprout";
const TOKENS = 120;
/** Mean KL from f32 activations and an f32 cache, in nats a token; what longer texts give is in docs/performance.md. */
const LIMIT = 1e-5;

const texts: { ids: number[] }[] = JSON.parse(await readFile("test/fixtures/sprout-heldout.json", "utf8"));
const ids = texts[2].ids.slice(0, TOKENS);

const device = await Device.open(await openTestGpu());
const { profile } = device;
device.dispose();

const FUSED = { name: "fused decode", options: { fused: true }, isPossible: canFuse(profile) } as const;
const F16_CACHE = { name: "a cache in f16", options: { dtype: "f16", fused: false }, isPossible: profile.f16 } as const;

// There prompts are rounded to f16 wherever they are multiplied.
test.runIf(profile.matrix)("held-out text is as likely when prompts go through matrices", () =>
  withFormat(SPROUT, "q4", async (open) => {
    const exact = await open({});
    const expected = await scoredLogits(exact, ids);
    exact.dispose();
    const runner = await open({ dtype: "f16", matrices: true });
    const { meanKl, agreement } = divergence(expected, await scoredLogits(runner, ids));
    runner.dispose();
    expect(meanKl, "mean KL").toBeLessThan(LIMIT);
    expect(agreement, "likeliest tokens").toBeGreaterThan(0.99);
  }),
);

test.for([
  { format: "q4", ways: [FUSED, F16_CACHE] },
  { format: "q4a", ways: [FUSED] },
  { format: "q8", ways: [FUSED] },
] as const)("held-out text is as likely to $format weights as in f32, whatever is rounded", async (shape, { skip }) => {
  const ways = shape.ways.filter(({ isPossible }) => isPossible);
  skip(ways.length === 0, "this adapter lacks f16 and what fused kernels need");
  await withFormat(SPROUT, shape.format, async (open) => {
    const exact = await open({});
    const expected = await scoredLogits(exact, ids);
    exact.dispose();
    for (const { name, options } of ways) {
      const runner = await open(options);
      expect(runner.decodeKernels.includes("decode-product"), name).toBe(options.fused);
      const { meanKl, agreement } = divergence(expected, await decodedLogits(runner, ids));
      runner.dispose();
      expect(meanKl, `mean KL, ${name}`).toBeLessThan(LIMIT);
      expect(agreement, `likeliest tokens, ${name}`).toBeGreaterThan(0.99);
    }
  });
});
