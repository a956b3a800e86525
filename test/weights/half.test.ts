import { describe, expect, it } from "vitest";
import { floatToHalf, halfToFloat } from "../../src/weights/half.ts";

describe("half precision", () => {
  it.each([
    [0, 0x0000],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [1023 * 2 ** -24, 0x03ff],
    [0.333251953125, 0x3555],
    [Number.POSITIVE_INFINITY, 0x7c00],
  ])("%d is %d", (value, bits) => {
    expect(floatToHalf(value)).toBe(bits);
    expect(halfToFloat(bits)).toBe(value);
  });

  it.each([
    ["a tie, even below", 1 + 2 ** -11, 0x3c00],
    ["a tie, even above", 1 + 3 * 2 ** -11, 0x3c02],
    ["just above a tie", 1 + 2 ** -11 + 2 ** -23, 0x3c01],
    ["up into the next power", 2 - 2 ** -12, 0x4000],
    ["a subnormal tie, even below", 2.5 * 2 ** -24, 0x0002],
    ["a subnormal tie, even above", 3.5 * 2 ** -24, 0x0004],
    ["half the smallest", 2 ** -25, 0x0000],
    ["just more than half the smallest", 2 ** -25 * (1 + 2 ** -20), 0x0001],
    ["the largest subnormal up to normal", 2 ** -14 - 2 ** -26, 0x0400],
    ["just below infinity", 65519.99609375, 0x7bff],
    ["the tie at infinity", 65520, 0x7c00],
    ["negative", -(1 + 3 * 2 ** -11), 0xbc02],
  ])("rounds %s", (_, value, bits) => expect(floatToHalf(value)).toBe(bits));

  it("gives every pattern back", () => {
    for (let bits = 0; bits < 65536; bits++) {
      const value = halfToFloat(bits);
      if (Number.isNaN(value)) expect(floatToHalf(value) & 0x7e00).toBe(0x7e00);
      else if (floatToHalf(value) !== bits) expect.fail(`${bits} became ${floatToHalf(value)}`);
    }
  });
});
