import { describe, expect, test } from "vitest";
import { expectClose } from "../../support/compare.ts";
import { FORMATS, TIERS } from "../dense/dense-cases.ts";
import { type MoeCase, prepare, record, WAYS } from "./moe-case.ts";

const ways = Object.keys(WAYS) as (keyof typeof WAYS)[];

const CASES: readonly MoeCase[] = [
  { tokens: 1, experts: 8, topK: 2, inner: 32, hidden: 64, format: "f32" },
  { tokens: 2, experts: 24, topK: 4, inner: 128, hidden: 256, format: "q4" },
  { tokens: 3, experts: 512, topK: 10, inner: 32, hidden: 64, format: "q8", surplus: 5 },
  { tokens: 17, experts: 8, topK: 2, inner: 96, hidden: 96, format: "bf16" },
  { tokens: 64, experts: 24, topK: 4, inner: 64, hidden: 96, format: "q8" },
  { tokens: 65, experts: 512, topK: 10, inner: 32, hidden: 128, format: "q4" },
  { tokens: 65, experts: 8, topK: 2, inner: 32, hidden: 64, format: "f16", surplus: 63 },
  { tokens: 200, experts: 24, topK: 4, inner: 64, hidden: 64, format: "q4", surplus: 56 },
  { tokens: 200, experts: 8, topK: 4, inner: 96, hidden: 128, format: "f32" },
  { tokens: 65, experts: 24, topK: 2, inner: 64, hidden: 64, format: "q8", choose: () => [23, 7] },
  { tokens: 130, experts: 8, topK: 2, inner: 32, hidden: 64, format: "f32", choose: (t) => [t % 2 ? 1 : 4, 6] },
];

const named = (c: MoeCase) => {
  const chosen = c.choose ? ", few experts chosen" : "";
  const surplus = c.surplus ? `, ${c.surplus} surplus rows` : "";
  return `${c.tokens} tokens, ${c.topK} of ${c.experts} experts, ${c.hidden} × ${c.inner} ${c.format}${chosen}${surplus}`;
};

const limitOf = (f16: boolean) => (f16 ? 2e-3 : 2e-6);

function check(shape: MoeCase): void {
  const prepared = prepare(shape);
  let expected: Float32Array | undefined;
  test.each(TIERS.flatMap(({ tier, without }) => ways.map((way) => ({ tier, without, way }))))(
    "$way with $tier",
    async ({ without, way }) => {
      expected ??= prepared.expected();
      const { harness, read } = await record(prepared, way, without);
      await harness.run();
      expectClose(await read(), expected, limitOf(harness.profile.f16 && way === "grouped"));
      expect.hasAssertions();
      harness.dispose();
    },
  );
}

describe.each(CASES.map((shape) => ({ name: named(shape), shape })))("experts: $name", ({ shape }) => check(shape));

// With 20, 50 and 100 pairs to an expert the tiles have 32, 64 and 64 rows; the cases above have the others.
describe.each(FORMATS.flatMap((format) => [40, 100, 200].map((tokens) => ({ format, tokens }))))(
  "experts: $tokens tokens in $format",
  ({ format, tokens }) => check({ tokens, experts: 8, topK: 4, inner: 32, hidden: 64, format }),
);

describe("experts: one layer of the 80B model with 16 experts", () =>
  check({ tokens: 33, experts: 16, topK: 10, inner: 512, hidden: 2048, format: "q4" }));

describe("experts", () => {
  test.each(ways)("%s gives the same bits every time", async (way) => {
    const prepared = prepare({ tokens: 130, experts: 24, topK: 4, inner: 64, hidden: 128, format: "q8", surplus: 9 });
    const { harness, read } = await record(prepared, way, {});
    await harness.run();
    const first = new Uint32Array((await read()).slice().buffer);
    await harness.run();
    expect(new Uint32Array((await read()).slice().buffer)).toEqual(first);
    harness.dispose();
  });
});
