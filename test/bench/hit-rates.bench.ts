import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "vitest";
import { allBlocks } from "../../src/engine/runner.ts";
import { ExpertSlots } from "../../src/paging/expert-slots.ts";
import { openGpuModel } from "../support/gpu-model.ts";

const folder = process.env.SLUICE_SPROUT ?? "";
const texts = join(folder, "heldout.jsonl");
const SHARES = [4, 5, 6, 8, 9, 12, 15, 18, 21, 24];
const DOCUMENTS = 24;

/** How often a layer's cache has what held-out text asks for, token by token: src/paging/hit-rates.ts has the result. */
test.skipIf(!existsSync(texts))("hit rates of Sprout by slots", { timeout: 600_000 }, async () => {
  const runner = await openGpuModel(folder, { maxBatchTokens: 512 });
  const caches = SHARES.map((slots) => ({ slots, hits: 0, asked: 0, layers: [] as ExpertSlots[] }));
  const lines = readFileSync(texts, "utf8").trim().split("\n");
  const every = Math.floor(lines.length / DOCUMENTS);
  for (let d = 0; d < DOCUMENTS; d++) {
    const { ids } = JSON.parse(lines[d * every]) as { ids: number[] };
    const tokens = ids.slice(0, 512);
    const routing = await runner.routing({ tokens, position: 0, slot: 0, blocks: allBlocks(runner) });
    for (const cache of caches) {
      for (const [l, chosen] of routing.entries()) {
        cache.layers[l] ??= new ExpertSlots(24, cache.slots);
        const experts = cache.layers[l];
        const topK = chosen.length / tokens.length;
        for (let at = 0; at < chosen.length; at += topK) {
          const needed = new Set(chosen.subarray(at, at + topK));
          // The first texts fill the cache.
          if (d > 1) {
            cache.asked += topK;
            for (const expert of needed) if (experts.has(expert)) cache.hits++;
          }
          for (const expert of needed) {
            if (experts.has(expert)) experts.touch(expert);
            else experts.take(expert, needed);
          }
        }
      }
    }
  }
  for (const { slots, hits, asked } of caches) {
    console.log(`${slots} of 24 slots (${((100 * slots) / 24).toFixed(0)} %): ${(hits / asked).toFixed(3)}`);
  }
  runner.dispose();
});
