import { expect, it } from "vitest";
import { ago, bytes, bytesOf, day, duration, milliseconds, parameters, percent, rate } from "../../demo/src/format.ts";

it.each([
  [bytes(0), "0 B"],
  [bytes(999), "999 B"],
  [bytes(21_345_678), "21.3 MB"],
  [bytes(123_400_000_000), "123 GB"],
  [bytesOf(9_600_000, 21_300_000), "9.6 of 21.3 MB"],
  [bytesOf(0, 21_300_000), "0.0 of 21.3 MB"],
  [duration(0.2), "under 1 s"],
  [duration(75), "75 s"],
  [duration(600), "10 min"],
  [milliseconds(123.4), "123 ms"],
  [milliseconds(2340), "2.3 s"],
  [rate(4.56), "4.6 tok/s"],
  [rate(211.3), "211 tok/s"],
  [rate(Number.NaN), "–"],
  [parameters(31_297_584), "31.3 M"],
  [parameters(79.7e9), "79.7 B"],
  [percent(0.8712), "87 %"],
  [percent(0.0123), "1.2 %"],
  [percent(0.9981), "99.8 %"],
  [percent(1), "100 %"],
  [ago(0, 59_000), "just now"],
  [ago(0, 300_000), "5 min ago"],
  [ago(0, 3 * 3_600_000), "3 h ago"],
  [ago(0, 30 * 3_600_000), "yesterday"],
  [ago(0, 49 * 3_600_000), "2 days ago"],
])("%s is %s", (shown, expected) => {
  expect(shown).toBe(expected);
});

it("parts conversations at midnight", () => {
  const now = new Date(2026, 4, 10, 0, 30).getTime();
  expect(day(now - 60_000, now)).toBe("Today");
  expect(day(now - 3_600_000, now)).toBe("Yesterday");
  expect(day(now - 26 * 3_600_000, now)).toBe("Earlier");
});
