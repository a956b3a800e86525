import { describe, expect, test } from "vitest";
import { embed } from "../../../src/ops/gpu/dense.ts";
import { linear } from "../../../src/ops/gpu/linear.ts";
import { type HarnessOptions, KernelHarness } from "../../support/kernel-harness.ts";
import { FORMATS, makeWeight } from "./dense-cases.ts";

const DEVICES: readonly (HarnessOptions & { readonly name: string })[] = [
  { name: "no subgroups", without: { subgroups: true } },
  { name: "subgroups of 4", profile: { subgroupMinSize: 4, subgroupMaxSize: 4 } },
  { name: "subgroups of 8", profile: { subgroupMinSize: 8, subgroupMaxSize: 8 } },
  { name: "subgroups of 32", profile: { subgroupMinSize: 32, subgroupMaxSize: 32 } },
  { name: "subgroups of 8 to 32", profile: { subgroupMinSize: 8, subgroupMaxSize: 32 } },
];

/** Devices that nobody has at hand: what they would run is valid at least. */
describe.each(DEVICES)("shaders for $name", (options) => {
  test.each(FORMATS)("%s", async (format) => {
    const harness = await KernelHarness.create(options);
    const [weight, odd] = [8, 7].map((rows) => harness.weight("w", makeWeight(format, rows, 64, 1).encoded));
    embed(harness.context, weight, { maxTokens: 3, maxSequences: 1, kind: "prefill" });
    for (const rows of [1, 2, 3, 8, 9]) {
      for (const left of [0, 3]) {
        const x = { ...harness.recorder.tensor("x", rows, 68), columns: 64, offset: left };
        for (const w of [weight, odd]) linear(harness.context, x, w, linear(harness.context, x, w));
      }
    }
    const codes = new Map(harness.recorder.dispatches.map(({ kernel, shader }) => [shader.code, kernel]));
    expect(codes.size).toBeGreaterThan(20);
    for (const [code, kernel] of codes) {
      const { messages } = await harness.device.createShaderModule({ label: kernel, code }).getCompilationInfo();
      expect(
        messages.map((m) => m.message),
        kernel,
      ).toEqual([]);
    }
    harness.dispose();
  });
});
