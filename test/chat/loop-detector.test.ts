import { describe, expect, it } from "vitest";
import { LoopDetector } from "../../src/chat/loop-detector.ts";
import { random } from "../support/random.ts";

const next = random(3);
const tokens = (count: number) => Array.from({ length: count }, () => Math.floor(next() * 5000));

/** How many tokens it took to notice a loop; undefined where none was noticed. */
function noticedAfter(list: readonly number[]): number | undefined {
  const detector = new LoopDetector();
  const at = list.findIndex((token) => detector.push(token));
  return at < 0 ? undefined : at + 1;
}

describe("a loop", () => {
  it.each([1, 2, 7, 64, 300, 1024])(
    "of %i tokens is noticed after four rounds, or 192 tokens beyond the first",
    (period) => {
      const round = tokens(period);
      const list = [
        ...tokens(500),
        ...Array.from({ length: 400 }, () => round)
          .flat()
          .slice(0, 6 * 1024),
      ];
      const due = 500 + period + Math.max(192, 3 * period);
      // What stood before may end like the loop does.
      expect(noticedAfter(list)).toBeGreaterThan(due - 5);
      expect(noticedAfter(list)).toBeLessThanOrEqual(due);
    },
  );

  it("is none while each round has something new", () => {
    const round = tokens(20);
    const list = Array.from({ length: 200 }, (_, i) => [...round, 10_000 + i]).flat();
    expect(noticedAfter(list)).toBeUndefined();
  });

  it("is none in short runs, such as a line of dashes", () => {
    expect(noticedAfter([...tokens(50), ...Array.from({ length: 150 }, () => 9), ...tokens(50)])).toBeUndefined();
  });

  it("is none in other text", () => {
    expect(noticedAfter(tokens(3000))).toBeUndefined();
  });
});
