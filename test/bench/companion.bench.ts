import { expect, it } from "vitest";
import { ObservedPlatform } from "../support/observed-platform.ts";
import { companionTable, HEADER, lineOf } from "./companion-table.ts";

const numbers = (name: string, usual: string) => (process.env[name] ?? usual).split(",").map(Number);

it("tokens a second on shaped links, beside the prediction", { timeout: 3_600_000 }, async () => {
  const rows = companionTable(new ObservedPlatform(), {
    source: "demo/public/models/sprout",
    load: { maxContext: 256, maxBatchTokens: 64 },
    roundTripsMs: numbers("SLUICE_ROUND_TRIPS", "1,5,20"),
    megabits: numbers("SLUICE_MEGABITS", "10,100"),
    shares: numbers("SLUICE_SHARES", "0,25,50"),
    tokens: 24,
    replies: 4,
  });
  const lines: string[] = [];
  for await (const row of rows) {
    lines.push(lineOf(row));
    console.log(lines.at(-1));
  }
  console.log([HEADER, ...lines].join("\n"));
  expect(lines.length).toBeGreaterThan(0);
});
