import { expect, it } from "vitest";
import { FlowRate } from "../../demo/src/flow-rate.ts";

it("is nothing at first, then what came in the window", () => {
  const rate = new FlowRate(5000);
  expect(rate.at(0, 1000)).toBe(0);
  expect(rate.at(2000, 2000)).toBe(2000);
  for (let s = 3; s <= 20; s++) rate.at(2000, s * 1000);
  expect(rate.at(2000, 21_000)).toBe(0);
  expect(rate.at(8000, 22_000)).toBe(1000);
});
