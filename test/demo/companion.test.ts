import type { ModelInfo } from "sluice";
import { describe, expect, it } from "vitest";
import { companionOptions, isOpen, parseCompanion } from "../../demo/src/companion-choice.ts";
import { type Look, placesOf, type Stats, speedsBetween } from "../../demo/src/companion-parts.ts";
import { bandwidth, latency } from "../../demo/src/format.ts";

const HTTPS = "https://chat.example/";
const LOCAL = "http://localhost:8080/";

describe("the address of a companion", () => {
  it.each([
    ["https://host:8000", "https://host:8000"],
    [" host:8000 ", "https://host:8000"],
    ["https://host:8000/v1/", "https://host:8000"],
    ["localhost:8000", "http://localhost:8000"],
    ["127.0.0.1:8000", "http://127.0.0.1:8000"],
    ["http://localhost:8000", "http://localhost:8000"],
  ])("is %s as %s, from a page of https too", (typed, url) => {
    expect(parseCompanion(typed, HTTPS)).toEqual({ url });
  });

  it.each(["", "ftp://host", "https://", "https://me:secret@host", "https://host?key=secret"])("is not %s", (typed) => {
    expect(parseCompanion(typed, HTTPS)).toMatchObject({ problem: { kind: "CompanionError.address" } });
  });

  it("of plain http is for pages of plain http", () => {
    expect(parseCompanion("http://host:8000", HTTPS)).toMatchObject({ problem: { kind: "CompanionError.mixed" } });
    expect(parseCompanion("http://host:8000", LOCAL)).toEqual({ url: "http://host:8000" });
    expect(["http://host:8000", "http://localhost:1", "https://host"].map(isOpen)).toEqual([true, false, false]);
  });

  it("goes with a key and a way, unless this device is to do everything", () => {
    const choice = { url: "https://host", key: "", way: "experts" } as const;
    expect(companionOptions(choice)).toEqual({ url: "https://host", key: undefined, mode: "experts" });
    expect(companionOptions({ ...choice, way: "none" })).toBeUndefined();
  });
});

describe("a model with a companion", () => {
  const info = (companion?: object) => ({ layers: { delta: 6, attention: 2 }, companion }) as ModelInfo;
  const stats = (changes: object) => ({ tokens: { reply: 0 }, ...changes }) as Stats;

  it("runs here and there by the mode", () => {
    const paging = { slots: 6, experts: 24 };
    expect(placesOf(info(), undefined)).toEqual({ here: "All 8 layers", there: "Nothing" });
    expect(placesOf(info({ mode: "requests" }), undefined).there).toBe("All 8 layers");
    expect(placesOf(info({ mode: "experts" }), stats({ paging }))).toEqual({
      here: "8 layers, 6 experts each",
      there: "The other 18 experts",
    });
    expect(placesOf(info({ mode: "layers", layers: { here: 3, there: 5 } }), undefined)).toEqual({
      here: "The first 3 layers",
      there: "The other 5 layers",
    });
    const gone = stats({ paging, companion: { state: "replaced" } });
    expect(placesOf(info({ mode: "experts" }), gone).there).toBe("Nothing");
  });

  it("is as fast as its parts, one after the other", () => {
    const look = (ms: number, reply: number, waitMs: number): Look => ({
      ms,
      stats: stats({ tokens: { reply }, companion: { sums: { waitMs } } }),
    });
    expect(speedsBetween(look(0, 5, 100), look(1000, 25, 600))).toEqual({ together: 20, here: 40, there: 40 });
    expect(speedsBetween(look(0, 5, 100), look(1000, 25, 100))).toEqual({ together: 20, here: 20, there: undefined });
    expect(speedsBetween(look(0, 5, 100), look(1000, 5, 100))).toBeUndefined();
  });

  it("has figures of its link that can be read", () => {
    expect([0.84, 9.949, 9.96, 240].map(latency)).toEqual(["0.8 ms", "9.9 ms", "10 ms", "240 ms"]);
    expect([1.25e6, 2.6e9].map(bandwidth)).toEqual(["1.3 MB/s", "over 1 GB/s"]);
  });
});
