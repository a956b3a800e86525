import { expect, it } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type { GenerateParams } from "../../src/api/types.ts";
import { nodePlatform } from "../../src/platform/node/platform.ts";
import { testAdapterName } from "../support/gpu.ts";

const PROMPT = Number(process.env.SLUICE_PROMPT_TOKENS ?? 4096);
const FREE = { temperature: 0, ignoreEos: true };
/** Digits without an end. */
const HELD: GenerateParams = { temperature: 0, format: { kind: "regex", pattern: "[0-9]{200}" } };

const load = () =>
  LocalLLM.load(nodePlatform, "demo/public/models/sprout", {
    device: { adapter: testAdapterName },
    ...{ maxContext: PROMPT + 64, maxSequences: 9, cacheTokens: 2 * PROMPT + 9 * 512 },
  });

/** Moments at which the tokens of one reply came. */
async function moments(llm: LocalLLM, i: number, params: GenerateParams): Promise<number[]> {
  const times: number[] = [];
  for await (const event of llm.generate(`Story ${i}:`, params))
    if (event.kind === "text") times.push(performance.now());
  return times;
}

const gaps = (all: readonly number[][], from = 0, to = Number.POSITIVE_INFINITY): number[] =>
  all.flatMap((times) => times.slice(1).flatMap((at, i) => (at >= from && at <= to ? [at - times[i]] : [])));
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

it(`a prompt of ${PROMPT} tokens beside replies`, { timeout: 1_200_000 }, async () => {
  const llm = await load();
  for (const streams of [1, 4]) {
    const controller = new AbortController();
    const all: number[][] = [];
    const replies = Array.from({ length: streams }, async (_, i) => {
      const times: number[] = [];
      all.push(times);
      const params = { ...FREE, maxTokens: PROMPT, signal: controller.signal };
      for await (const event of llm.generate(`Story ${i}:`, params)) {
        if (event.kind === "text") times.push(performance.now());
      }
    });
    const reach = async (count: number) => {
      while (all.length < streams || all.some(({ length }) => length < count))
        await new Promise((r) => setTimeout(r, 5));
    };
    await reach(15);
    const quietFrom = performance.now();
    await reach(75);
    const begun = performance.now();
    const prompt = Array.from({ length: PROMPT }, (_, i) => 10 + ((i * 7919 + streams) % 8000));
    await llm.generate(prompt, { ...FREE, maxTokens: 1 }).finish();
    const read = performance.now();
    await reach(Math.max(...all.map(({ length }) => length)) + 60);
    controller.abort();
    await Promise.all(replies);
    // The machine may be busier at one time than at another: before and after count together.
    const quiet = mean([...gaps(all, quietFrom, begun), ...gaps(all, read)]);
    const beside = mean(gaps(all, begun, read));
    console.log(
      `${streams} replies: ${quiet.toFixed(1)} ms between tokens, ${beside.toFixed(1)} ms beside the prompt (${(beside / quiet).toFixed(2)} x), ` +
        `which takes ${((read - begun) / 1000).toFixed(1)} s`,
    );
    expect(gaps(all, begun, read).length).toBeGreaterThan(10);
  }
  await llm.dispose();
});

it("replies beside one that is held to a format", { timeout: 1_200_000 }, async () => {
  const llm = await load();
  const run = async (free: number, held: number) => {
    const before = (await llm.stats()).steps.decode;
    const replies = await Promise.all([
      ...Array.from({ length: free }, (_, i) => moments(llm, i, { ...FREE, maxTokens: 100 })),
      ...Array.from({ length: held }, (_, i) => moments(llm, i, { ...HELD, maxTokens: 50 })),
    ]);
    const ms = (some: readonly number[][]) => (some.length === 0 ? "–" : mean(gaps(some)).toFixed(1));
    const steps = (await llm.stats()).steps.decode - before;
    return { free, held, "ms free": ms(replies.slice(0, free)), "ms held": ms(replies.slice(free)), steps };
  };
  await run(8, 1);
  const rows = [];
  for (let i = 0; i < 2; i++)
    for (const [free, held] of [
      [8, 0],
      [8, 1],
      [2, 1],
      [0, 1],
    ])
      rows.push(await run(free, held));
  console.table(rows);
  expect(rows).toHaveLength(8);
  await llm.dispose();
});
