import { expect, it } from "vitest";
import { LocalLLM } from "../../src/api/llm.ts";
import type { CompanionMode } from "../../src/api/types.ts";
import { createServer } from "../../src/server.ts";
import { ObservedPlatform } from "../support/observed-platform.ts";
import { shapingProxy } from "../support/shaping-proxy.ts";

const SPROUT = "demo/public/models/sprout";
const TOKENS = 24;
const ROUND_TRIPS_MS = [0, 1, 5, 20];
const MEGABITS = [10, 100];

it("tokens a second on shaped links, beside the prediction", async () => {
  const platform = new ObservedPlatform();
  const options = { maxContext: 256, maxBatchTokens: 64 } as const;
  const host = await LocalLLM.load(platform, SPROUT, options);
  const server = createServer(host, {});
  const url = await server.listen({ port: 0 });
  await server.ready();
  const params = { temperature: 0, maxTokens: TOKENS, ignoreEos: true };
  const speedOf = async (llm: LocalLLM) => {
    await llm.generate("Once upon a time", { ...params, maxTokens: 4 }).finish();
    return (await llm.generate("Once upon a time", params).finish()).usage.decodeTokensPerSecond;
  };
  const alone = await speedOf(host);
  const table: Record<string, string>[] = [];
  for (const roundTripMs of ROUND_TRIPS_MS) {
    for (const megabits of MEGABITS) {
      const proxy = await shapingProxy(url, { delayMs: roundTripMs / 2, bitsPerSecond: megabits * 1e6 });
      const memory = "50%";
      const auto = await LocalLLM.load(platform, SPROUT, { ...options, memory, companion: { url: proxy.url } });
      const { predicted, mode: chosen } = auto.info.companion!;
      await auto.dispose();
      const row: Record<string, string> = { ms: `${roundTripMs}`, "Mbit/s": `${megabits}`, chosen };
      for (const mode of ["requests", "experts"] as const satisfies readonly CompanionMode[]) {
        const llm = await LocalLLM.load(platform, SPROUT, { ...options, memory, companion: { url: proxy.url, mode } });
        row[mode] = `${(await speedOf(llm)).toFixed(1)} / ${predicted[mode]!.toFixed(1)}`;
        if (mode === "experts") {
          const { companion } = await llm.stats();
          const { count } = companion!.sums;
          row.sums = `${count}`;
          row["KB a sum"] = `${((companion!.sentBytes + companion!.receivedBytes) / count / 1000).toFixed(1)}`;
        }
        await llm.dispose();
      }
      row["alone, 50 %"] = `${predicted.none!.toFixed(1)} expected`;
      table.push(row);
      await proxy.close();
    }
  }
  console.log(`alone, all experts here: ${alone.toFixed(1)}`);
  console.table(table);
  expect(table).toHaveLength(ROUND_TRIPS_MS.length * MEGABITS.length);
  await server.close({ timeoutMs: 100 });
  await host.dispose();
});
