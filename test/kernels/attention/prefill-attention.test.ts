import { describe, test } from "vitest";
import { shapeOf } from "./attention-case.ts";
import { attentionChecks, small } from "./attention-checks.ts";

// Software adapters have kernels of their own; both kinds run there.
describe.each([{}, { serialWorkgroups: true }])("attention (prefill) without %o", (without) => {
  const { check, checkEnded } = attentionChecks("prefill", without);

  for (const position of [0, 1, 63, 64, 100]) {
    test.each([1, 3, 17, 63, 64, 65, 130])(`%i tokens from ${position}`, (count) =>
      check({ shape: small, sequences: [{ position, count }] }),
    );
  }
  test.each([
    [1, 1, 32],
    [2, 1, 256],
    [6, 2, 96],
    [8, 1, 256],
    [16, 2, 256],
    [16, 1, 32],
  ])("%i query heads, %i key-value heads of %i", (queryHeads, keyValueHeads, headDim) =>
    check({ shape: shapeOf(queryHeads, keyValueHeads, headDim), sequences: [{ position: 20, count: 33 }] }),
  );
  // Of heads that fill no subgroup software adapters join many ranges as well.
  test("many ranges of narrow heads", () =>
    check({ shape: shapeOf(4, 1, 32), sequences: [{ position: 290, count: 44 }] }));
  test("f16 cache", () => check({ shape: small, format: "f16", sequences: [{ position: 40, count: 50 }] }, 5e-3));
  test("two sequences side by side", () =>
    check({
      shape: small,
      sequences: [
        { position: 0, count: 37 },
        { position: 300, count: 90 },
      ],
    }));
  test("what every device offers", () =>
    check(
      {
        shape: shapeOf(8, 1, 256),
        format: "f16",
        sequences: [{ position: 70, count: 30 }],
        options: { device: "basic" },
      },
      5e-3,
    ));
  test("rows of sequences that have ended", checkEnded);
  test("large logits", () => check({ shape: small, sharpness: 1e3, sequences: [{ position: 50, count: 40 }] }, 1e-4));
});
