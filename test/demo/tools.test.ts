import { describe, expect, it } from "vitest";
import { calculate } from "../../demo/src/calculate.ts";
import { runCall, timeIn } from "../../demo/src/tools.ts";

describe("the calculator", () => {
  it.each([
    ["37 * 46", 1702],
    ["2 + 3 * 4 - 6 / 3", 12],
    ["(2 + 3) × (4 − 1)", 15],
    ["-2 ^ 2", -4],
    ["2 ** 3 ** 2", 512],
    ["2 ^ -1", 0.5],
    ["0.1 + .2", 0.3],
    ["1,250 + 1e3", 2250],
    ["10 % 4 ÷ 2", 1],
    ["- - 3", 3],
  ])("%s = %d", (expression, value) => expect(calculate(expression)).toBe(value));

  it.each(["", "2 +", "(2", "2 2", "two", "2 $ 3", "1 / (2"])("says why it cannot work out %j", (expression) => {
    expect(() => calculate(expression)).toThrow(/\.$/);
  });
});

describe("the clock", () => {
  const noon = new Date("2026-01-15T12:00:00Z");
  it.each([
    ["Tokyo", "21:00"],
    ["new york", "07:00"],
    ["Europe/Paris", "13:00"],
    ["UTC", "12:00"],
  ])("knows the time in %s", (place, time) => expect(timeIn(place, noon)).toBe(time));

  it("says that it does not know a place", () => expect(() => timeIn("Nowhere")).toThrow(/Nowhere/));
});

it("gives the model every result as JSON, failures too", () => {
  const call = (name: string, args: string) => runCall({ id: "1", name, arguments: args });
  expect(call("calculate", '{"expression": "6 * 7"}')).toBe('{"result":42}');
  expect(call("calculate", '{"expression": "6 *"}')).toMatch(/^\{"error":/);
  expect(call("calculate", "{}")).toMatch(/^\{"error":/);
  expect(call("launch", "{}")).toBe('{"error":"There is no function launch."}');
});
