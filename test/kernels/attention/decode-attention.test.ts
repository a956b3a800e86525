import { describe, test } from "vitest";
import { shapeOf } from "./attention-case.ts";
import { attentionChecks, small } from "./attention-checks.ts";

// Software adapters have kernels of their own; both kinds run there.
describe.each([{}, { serialWorkgroups: true }])("attention (decode) without %o", (without) => {
  const { check, checkEnded } = attentionChecks("decode", without);

  test.each([1, 2, 63, 64, 65, 129, 1000])("a context of %i tokens", (length) =>
    check({ shape: small, sequences: [{ position: length - 1, count: 1 }] }),
  );
  test.each([
    [1, 1, 32],
    [2, 1, 256],
    [4, 2, 96],
    [8, 1, 256],
    [16, 2, 256],
    [16, 1, 32],
  ])("%i query heads, %i key-value heads of %i", (queryHeads, keyValueHeads, headDim) =>
    check({ shape: shapeOf(queryHeads, keyValueHeads, headDim), sequences: [{ position: 150, count: 1 }] }),
  );
  test("many ranges of narrow heads", () =>
    check({ shape: shapeOf(4, 1, 32), sequences: [{ position: 600, count: 1 }] }));
  test("f16 cache", () => check({ shape: small, format: "f16", sequences: [{ position: 200, count: 1 }] }, 5e-3));
  test("three sequences of different lengths", () =>
    check({
      shape: small,
      sequences: [
        { position: 0, count: 1 },
        { position: 299, count: 1 },
        { position: 40, count: 1 },
      ],
    }));
  test("several rows of a sequence", () =>
    check({
      shape: small,
      sequences: [
        { position: 62, count: 4 },
        { position: 7, count: 2 },
      ],
    }));
  test("what every device offers", () =>
    check(
      {
        shape: shapeOf(8, 1, 256),
        format: "f16",
        sequences: [{ position: 70, count: 1 }],
        options: { device: "basic" },
      },
      5e-3,
    ));
  test("rows of sequences that have ended", checkEnded);
  test("large logits", () => check({ shape: small, sharpness: 1e3, sequences: [{ position: 200, count: 1 }] }, 1e-4));
});
