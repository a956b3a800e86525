import { describe, expect, it } from "vitest";
import { ObservedPlatform } from "../support/observed-platform.ts";
import { SlowStore } from "../support/slow-store.ts";
import { companionTable, HEADER, lineOf, ofBest, type TableOptions } from "./companion-table.ts";

/** Numbers of a variable, where only a part of the table is wanted. */
const numbers = (name: string, usual: readonly number[]) => process.env[name]?.split(",").map(Number) ?? usual;

const ALL = ["requests", "experts", "layers", "none"] as const;
const KEEPING_TOKENS = ["experts", "layers", "none"] as const;

/** Who the page and the server are. Both are lavapipe with Sprout's files in the system's memory unless it says otherwise. */
const SETTINGS: Readonly<Record<string, Omit<TableOptions, "platform" | "source">>> = {
  alike: { ways: ALL, roundTripsMs: [1, 5, 20], megabits: [10, 100], shares: [0, 25, 50] },
  "tokens stay": {
    ways: KEEPING_TOKENS,
    ...{ roundTripsMs: [1, 20], megabits: [100], shares: [0, 50] },
    page: { private: true },
  },
  "tokens stay, store of 10 MB/s, server without room for states": {
    ways: ["experts", "none"],
    ...{ roundTripsMs: [1, 20], megabits: [100], shares: [0, 50] },
    page: { private: true, platform: new SlowStore(10e6) },
    host: { maxStateBytesPerClient: 1 },
  },
  "server on SwiftShader": {
    ways: ALL,
    ...{ roundTripsMs: [1, 20], megabits: [100], shares: [0, 50] },
    host: { load: { device: { adapter: "swiftshader" } } },
  },
};

const wanted = new RegExp(process.env.SLUICE_SETTINGS ?? "");

describe.for(Object.entries(SETTINGS).filter(([name]) => wanted.test(name)))("%s", ([, setting]) => {
  it("tokens a second on shaped links, beside the prediction", { timeout: 3_600_000 }, async () => {
    const rows = companionTable({
      platform: new ObservedPlatform(),
      source: "demo/public/models/sprout",
      ...setting,
      roundTripsMs: numbers("SLUICE_ROUND_TRIPS", setting.roundTripsMs),
      megabits: numbers("SLUICE_MEGABITS", setting.megabits),
      shares: numbers("SLUICE_SHARES", setting.shares),
    });
    const lines: string[] = [];
    const shares: number[] = [];
    for await (const row of rows) {
      lines.push(lineOf(row));
      shares.push(ofBest(row));
      console.log(lines.at(-1));
    }
    const right = shares.filter((share) => share >= 90).length;
    console.log([HEADER, ...lines, `${right} of ${lines.length} within 10 % of the best`].join("\n"));
    expect(lines.length).toBeGreaterThan(0);
  });
});
