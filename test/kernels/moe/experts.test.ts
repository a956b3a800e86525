import { describe, expect, test } from "vitest";
import { expectClose } from "../../support/compare.ts";
import { hasMatrices, MATRICES } from "../../support/matrices.ts";
import { FORMATS, writeRows } from "../dense/dense-cases.ts";
import { DEVICES, type MoeCase, prepare, record, WAYS } from "./moe-case.ts";

const ways = Object.keys(WAYS) as (keyof typeof WAYS)[];

const CASES: readonly MoeCase[] = [
  { tokens: 1, experts: 8, topK: 2, inner: 32, hidden: 64, format: "f32" },
  { tokens: 2, experts: 24, topK: 4, inner: 128, hidden: 256, format: "q4" },
  { tokens: 3, experts: 512, topK: 10, inner: 32, hidden: 64, format: "q8", surplus: 5 },
  { tokens: 17, experts: 8, topK: 2, inner: 96, hidden: 128, format: "bf16" },
  { tokens: 64, experts: 24, topK: 4, inner: 64, hidden: 96, format: "q8" },
  { tokens: 65, experts: 512, topK: 10, inner: 32, hidden: 128, format: "q4" },
  { tokens: 65, experts: 8, topK: 2, inner: 32, hidden: 64, format: "f16", surplus: 63 },
  { tokens: 200, experts: 24, topK: 4, inner: 64, hidden: 64, format: "q4", surplus: 56 },
  { tokens: 65, experts: 24, topK: 2, inner: 64, hidden: 64, format: "q8", choose: () => [23, 7] },
  { tokens: 130, experts: 8, topK: 2, inner: 32, hidden: 64, format: "f32", choose: (t) => [t % 2 ? 1 : 4, 6] },
];

const named = (c: MoeCase) => {
  const chosen = c.choose ? ", few experts chosen" : "";
  const surplus = c.surplus ? `, ${c.surplus} surplus rows` : "";
  return `${c.tokens} tokens, ${c.topK} of ${c.experts} experts, ${c.hidden} × ${c.inner} ${c.format}${chosen}${surplus}`;
};

function check(shape: MoeCase, devices: readonly (typeof DEVICES)[number][] = DEVICES): void {
  let prepared: ReturnType<typeof prepare> | undefined;
  let expected: Float32Array | undefined;
  test.each(devices.flatMap(({ device, options }) => ways.map((way) => ({ device, options, way }))))(
    "$way with $device",
    async ({ options, way }) => {
      prepared ??= prepare(shape);
      expected ??= prepared.expected();
      const { harness, read } = await record(prepared, way, options);
      await harness.run();
      expectClose(await read(), expected, 2e-6);
      expect.hasAssertions();
      harness.dispose();
    },
  );
}

describe.each(CASES.map((shape) => ({ name: named(shape), shape })))("experts: $name", ({ shape }) =>
  // Compiling takes longest; what is left out differs in nothing that a shape could show.
  check(shape, [DEVICES[0], DEVICES[2]]),
);

// Up to 16 pairs to an expert, and more, a GPU takes different tiles.
describe.each(FORMATS.flatMap((format) => [24, 70].map((tokens) => ({ format, tokens }))))(
  "experts: $tokens tokens in $format",
  ({ format, tokens }) => check({ tokens, experts: 8, topK: 4, inner: 32, hidden: 64, format }),
);

describe("experts: one layer of the 80B model with 12 experts", () =>
  check({ tokens: 33, experts: 12, topK: 10, inner: 512, hidden: 2048, format: "q4" }, [DEVICES[0], DEVICES[2]]));

describe.runIf(await hasMatrices())("experts by matrices", () => {
  test.each([
    { tokens: 17, experts: 8, topK: 2, inner: 128, hidden: 128, format: "bf16" },
    { tokens: 65, experts: 24, topK: 4, inner: 128, hidden: 128, format: "q4", surplus: 63 },
    { tokens: 130, experts: 24, topK: 4, inner: 128, hidden: 128, format: "q4a", choose: () => [23, 7, 8, 1] },
    { tokens: 200, experts: 8, topK: 2, inner: 128, hidden: 128, format: "q8", surplus: 56 },
  ] as const satisfies readonly MoeCase[])("$tokens tokens, $topK of $experts experts in $format", async (shape) => {
    const prepared = prepare(shape);
    const { harness, read } = await record(prepared, "grouped", MATRICES);
    expect(harness.recorder.dispatches.map((d) => d.kernel).join()).toMatch(/matrix-gate-up.*matrix-down/);
    await harness.run();
    // Inputs, weights and what is between the halves are rounded to 11 bits.
    expectClose(await read(), prepared.expected(), 1e-3);
    harness.dispose();
  });
});

describe.each(DEVICES)("experts with $device", ({ options }) => {
  test.each(ways)("%s gives the same bits every time", async (way) => {
    const prepared = prepare({ tokens: 130, experts: 24, topK: 4, inner: 64, hidden: 128, format: "q8", surplus: 9 });
    const { harness, read } = await record(prepared, way, options);
    await harness.run();
    const first = new Uint32Array((await read()).slice().buffer);
    await harness.run();
    expect(new Uint32Array((await read()).slice().buffer)).toEqual(first);
    harness.dispose();
  });

  test.each(ways)("%s is not led astray by what a larger batch left behind", async (way) => {
    const shape = { tokens: 200, experts: 8, topK: 2, inner: 64, hidden: 64, format: "f32" } as const;
    const larger = prepare(shape);
    const { harness, read } = await record(larger, way, options);
    await harness.run();
    const smaller = prepare({ ...shape, choose: (token) => [(3 * token) % 8, (3 * token + 5) % 8] });
    larger.ids.set(smaller.ids);
    writeRows(harness, [37]);
    await harness.run();
    const width = 37 * shape.hidden;
    expectClose((await read()).subarray(0, width), smaller.expected().subarray(0, width), 2e-6);
    expect.hasAssertions();
    harness.dispose();
  });
});
