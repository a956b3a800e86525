import { describe, expect, test } from "vitest";
import { route } from "../../../src/ops/gpu/moe.ts";
import { hostTensor } from "../../../src/reference/host-tensor.ts";
import { route as reference } from "../../../src/reference/moe.ts";
import { expectClose } from "../../support/compare.ts";
import { type HarnessOptions, KernelHarness } from "../../support/kernel-harness.ts";
import { normals } from "../../support/random.ts";
import { writeRows } from "../dense/dense-cases.ts";
import { DEVICES } from "./moe-case.ts";

const batch = { maxTokens: 8, maxSequences: 1, kind: "prefill" } as const;

async function run(
  logits: Float32Array<ArrayBuffer>,
  experts: number,
  topK: number,
  tokens: number,
  options: HarnessOptions,
) {
  const harness = await KernelHarness.create(options);
  writeRows(harness, [tokens]);
  const rows = logits.length / experts;
  const routing = route(harness.context, harness.input("logits", rows, experts, logits), topK, batch);
  harness.output(routing.ids);
  harness.output(routing.weights);
  await harness.run();
  const ids = new Uint32Array((await harness.read(routing.ids)).buffer).subarray(0, tokens * topK);
  const weights = (await harness.read(routing.weights)).subarray(0, tokens * topK);
  harness.dispose();
  return { ids: Array.from(ids), weights };
}

async function check(logits: Float32Array<ArrayBuffer>, experts: number, topK: number, options: HarnessOptions) {
  const tokens = logits.length / experts;
  const { ids, weights } = await run(logits, experts, topK, tokens, options);
  const expected = reference(hostTensor(tokens, experts, logits), topK);
  expect(ids).toEqual(Array.from(expected.ids.data));
  expectClose(weights, expected.weights.data, 1e-6);
}

describe.each(DEVICES)("route with $device", ({ options }) => {
  test.each([
    [1, 1],
    [8, 2],
    [8, 8],
    [24, 4],
    [256, 8],
    [512, 10],
    [513, 3],
  ])("of %i experts %i", (experts, topK) => check(normals(17 * experts, experts, 3), experts, topK, options));

  test("ties go to the lower index", async () => {
    await check(normals(40 * 24, 1).map(Math.round), 24, 10, options);
    await check(new Float32Array(512), 512, 10, options);
  });

  test("logits too large for exp", () => check(normals(8 * 64, 2, 1e4), 64, 4, options));

  test.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    "a token's experts differ and exist where logits are %d",
    async (value) => {
      const logits = normals(3 * 40, 3).fill(value, 5, 80);
      const { ids } = await run(logits, 40, 10, 3, options);
      for (let t = 0; t < 3; t++) {
        const chosen = new Set(ids.slice(t * 10, t * 10 + 10));
        expect(chosen.size).toBe(10);
        expect(Math.max(...chosen)).toBeLessThan(40);
      }
      expect(ids.slice(20)).toEqual(Array.from(reference(hostTensor(1, 40, logits.slice(80)), 10).ids.data));
    },
  );

  test("rows beyond the batch are left alone", async () => {
    const logits = normals(8 * 24, 4);
    const { ids } = await run(logits.fill(Number.NaN, 3 * 24), 24, 4, 3, options);
    expect(ids).toEqual(Array.from(reference(hostTensor(3, 24, logits.slice(0, 3 * 24)), 4).ids.data));
  });
});
