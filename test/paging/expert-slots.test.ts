import { expect, test } from "vitest";
import { ExpertSlots } from "../../src/paging/expert-slots.ts";

test("recency is halved when as many experts were used as there are slots", () => {
  const slots = new ExpertSlots(4, 2);
  expect([...slots.recency()]).toEqual([0, 0, 0, 0]);
  slots.take(1, new Set());
  slots.take(3, new Set());
  slots.touch(1);
  slots.touch(1);
  expect([...slots.recency()]).toEqual([0, 255, 0, 127]);
  for (let i = 0; i < 40; i++) slots.touch(1);
  expect(slots.recency()[3]).toBe(1);
  slots.take(0, new Set([1]));
  expect([...slots.recency()].map((level) => level > 0)).toEqual([true, true, false, false]);
});
