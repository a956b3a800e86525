import { expect, it } from "vitest";
import { ExpertSlots } from "../../src/paging/expert-slots.ts";
import { expectedHitRate } from "../../src/paging/hit-rates.ts";
import { textLikeRows } from "../../src/runner/probe-paging.ts";

const COLUMNS = 64;

/** How often a cache of `slots` has what a router of random weights chooses. */
function hitRate(experts: number, topK: number, slots: number): number {
  const [warm, tokens, routers] = [50, 400, 6];
  let hits = 0;
  for (let i = 0; i < routers; i++) {
    const router = Array.from({ length: experts }, () => textLikeRows(COLUMNS)());
    const cache = new ExpertSlots(experts, slots);
    const next = textLikeRows(COLUMNS);
    for (let token = 0; token < warm + tokens; token++) {
      const row = next();
      const scores = router.map((weights) => weights.reduce((sum, weight, c) => sum + weight * row[c], 0));
      const chosen = new Set([...scores.keys()].sort((a, b) => scores[b] - scores[a]).slice(0, topK));
      for (const expert of chosen) {
        if (token >= warm && cache.has(expert)) hits++;
        if (cache.has(expert)) cache.touch(expert);
        else cache.take(expert, chosen);
      }
    }
  }
  return hits / (routers * tokens * topK);
}

it.each([4, 6, 8, 12, 18])(
  "rows that are made up find their experts in %i of 24 slots as often as text does",
  (slots) => {
    expect(Math.abs(hitRate(24, 4, slots) - expectedHitRate(slots / 24))).toBeLessThan(0.08);
  },
);
