import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { eachAtOnce, Turns } from "../../src/common/turns.ts";

/** Work that counts how much of it is under way. */
function counted() {
  const seen = { most: 0, begun: [] as number[] };
  let running = 0;
  const work = async (i: number) => {
    seen.begun.push(i);
    seen.most = Math.max(seen.most, ++running);
    await sleep(1);
    running--;
    if (i % 3 === 0) throw new Error(`no ${i}`);
    return i;
  };
  return { seen, work, running: () => running };
}

describe("Turns", () => {
  it("lets a bounded number work at once, and others after failures", async () => {
    const turns = new Turns(12);
    const { seen, work } = counted();
    const results = await Promise.allSettled(Array.from({ length: 50 }, (_, i) => turns.run(() => work(i))));
    expect(seen.most).toBe(12);
    expect(results.filter(({ status }) => status === "fulfilled").length).toBe(33);
    expect(await Promise.all([1, 2].map((i) => turns.run(() => work(i))))).toEqual([1, 2]);
  });

  it("lets urgent work overtake, and keeps turns for it", async () => {
    const turns = new Turns(3, 1);
    const taken: string[] = [];
    const take = (name: string, isUrgent: boolean) => turns.take(isUrgent).then(() => taken.push(name));
    for (const name of ["a", "b", "c"]) void take(name, false);
    await sleep(0);
    expect(taken).toEqual(["a", "b"]);
    for (const name of ["A", "B"]) void take(name, true);
    await sleep(0);
    expect(taken).toEqual(["a", "b", "A"]);
    for (let i = 0; i < 2; i++) turns.give();
    await sleep(0);
    expect(taken).toEqual(["a", "b", "A", "B"]);
    turns.give();
    await sleep(0);
    expect(taken).toEqual(["a", "b", "A", "B", "c"]);
  });
});

describe("eachAtOnce", () => {
  it("begins no more after a failure, and returns when nothing is under way", async () => {
    const { seen, work, running } = counted();
    const items = [1, 2, 4, 3, 5, 7, 8, 10, 11];
    const each = eachAtOnce(items, 2, async (i) => void (await work(i)));
    await expect(each).rejects.toThrow("no 3");
    expect(running()).toBe(0);
    expect(seen.most).toBe(2);
    expect(seen.begun.length).toBeLessThan(items.length);
  });
});
