import { expect, test } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import { planModel } from "../../src/api/plan-model.ts";
import type { LoadOptions } from "../../src/api/types.ts";
import { ObservedPlatform } from "../support/observed-platform.ts";

const SPROUT = "demo/public/models/sprout";
const OPTIONS: LoadOptions = { maxContext: 512 };
const MESSAGES = [{ role: "user", content: "Write a story about a fox." }] as const;
const GREEDY = { temperature: 0, maxTokens: 16 };

test("a model within a budget says what one without it says, in the memory that was planned", async () => {
  const resident = await LocalLLM.load(new ObservedPlatform(), SPROUT, OPTIONS);
  const expected = await resident.chat(MESSAGES, GREEDY).text();
  const { total } = resident.info.memory;
  expect((await resident.stats()).paging).toBeUndefined();
  await resident.dispose();

  const platform = new ObservedPlatform();
  const memory = Math.round(total * 0.9);
  const plan = await planModel(platform, SPROUT, { ...OPTIONS, memory, speeds: { bytesPerSecond: 1e9 } });
  expect(plan.memory.total).toBeLessThanOrEqual(memory);
  expect(plan).toMatchObject({ modelType: "qwen3_next", experts: { layers: 8, perLayer: 24, perToken: 4 } });
  expect(plan.sizeBytes).toBeGreaterThan(20e6);
  expect(plan.paging).toMatchObject({ experts: 24, slots: expect.any(Number) });
  expect(plan.paging!.hitRate).toBeGreaterThan(0.3);
  expect(plan.paging!.tokensPerSecond).toBeGreaterThan(0);

  const paged = await LocalLLM.load(platform, SPROUT, { ...OPTIONS, memory });
  expect(paged.info.memory).toEqual(plan.memory);
  expect(await paged.chat(MESSAGES, GREEDY).text()).toBe(expected);
  expect(await paged.chat(MESSAGES, GREEDY).text()).toBe(expected);
  const { paging } = await paged.stats();
  expect(paging).toMatchObject({ experts: 24, slots: plan.paging!.slots });
  expect(paging!.layers).toHaveLength(8);
  for (const { recency } of paging!.layers) {
    const resident = recency.filter((level) => level > 0).length;
    expect(resident).toBeGreaterThanOrEqual(4);
    expect(resident).toBeLessThanOrEqual(paging!.slots);
    expect(Math.max(...recency)).toBe(255);
  }
  expect(platform.openSources).toBe(1);
  await paged.dispose();
  await expect.poll(() => platform.openSources).toBe(0);
  expect(platform.openDevices).toBe(0);
});

test.each(["lots", "0%", "101%", -1, Number.NaN])("memory %s is refused", async (memory) => {
  await expect(LocalLLM.load(new ObservedPlatform(), SPROUT, { memory })).rejects.toThrow("memory");
});

test("a budget that is too small says what would do", async () => {
  const platform = new ObservedPlatform();
  await expect(LocalLLM.load(platform, SPROUT, { ...OPTIONS, memory: "1MB" })).rejects.toThrow(/too little.*4 experts/);
  expect(platform.openSources).toBe(0);
  expect(platform.openDevices).toBe(0);
});
