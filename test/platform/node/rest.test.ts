import { expect, test } from "vitest";
import { restWhileWaiting, stayAwake } from "../../../src/platform/node/rest.ts";

/** As Dawn's binding does: it asks on every turn of the event loop whether the result is there. */
class Binding {
  turns = 0;

  mapAsync(ms: number): Promise<string> {
    const end = performance.now() + ms;
    return new Promise((resolve, reject) => {
      const ask = () => {
        this.turns++;
        if (performance.now() < end) setImmediate(ask);
        else if (ms > 0) resolve("mapped");
        else reject(new Error("lost"));
      };
      ask();
    });
  }

  async onSubmittedWorkDone(): Promise<void> {}
}

/** The shortest turn of the event loop from now on, in ms. */
async function shortestTurn(forMs: number): Promise<number> {
  const end = performance.now() + forMs;
  let shortest = Infinity;
  for (let start = performance.now(); start < end; start = performance.now()) {
    await new Promise((resolve) => setImmediate(resolve));
    shortest = Math.min(shortest, performance.now() - start);
  }
  return shortest;
}

test("turns of the event loop rest while the GPU is waited for, and only then", async () => {
  restWhileWaiting({ GPUBuffer: Binding, GPUQueue: Binding });
  const binding = new Binding();
  const waiting = Promise.all([binding.mapAsync(200), binding.mapAsync(10)]);
  while (binding.turns < 100) await new Promise((resolve) => setImmediate(resolve));
  expect(await shortestTurn(50)).toBeGreaterThan(0.045);
  stayAwake(50);
  expect(await shortestTurn(40)).toBeLessThan(0.045);
  expect(await waiting).toEqual(["mapped", "mapped"]);

  await expect(binding.mapAsync(0)).rejects.toThrow("lost");
  expect(await shortestTurn(50)).toBeLessThan(0.045);
});
