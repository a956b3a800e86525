import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { chooseWay, type Doubts, reasonFor, type Speeds, type Way } from "../../src/api/choose-way.ts";
import { takeBest } from "../../src/api/load-best.ts";
import { trySpeed } from "../../src/api/try-speed.ts";
import type { EngineEvent } from "../../src/engine/engine.ts";
import { CompanionError, OutOfMemoryError } from "../../src/errors.ts";

describe("a choice", () => {
  it("is what promises most, and of what is alike what leaves more here", () => {
    expect(chooseWay({ requests: 100, layers: 90, experts: 50, none: 10 }, {})).toBe("requests");
    expect(chooseWay({ requests: 100, layers: 100, experts: 50, none: 10 }, {})).toBe("layers");
  });

  it("is what promised more where trials differ too little to tell", () => {
    expect(chooseWay({ requests: 88, none: 41 }, { requests: 53, none: 55 })).toBe("requests");
    expect(chooseWay({ requests: 88, none: 41 }, { requests: 43, none: 55 })).toBe("none");
    expect(chooseWay({ requests: 50, none: 41, layers: 60 }, { requests: 53, none: 55 })).toBe("layers");
  });

  it("counts what was tried as it was, and what was not as a little more than promised", () => {
    expect(chooseWay({ requests: 100, layers: 60 }, { requests: 70 })).toBe("requests");
    expect(chooseWay({ requests: 100, layers: 60 }, { requests: 70 }, { layers: 1.3 })).toBe("layers");
    expect(chooseWay({ requests: 100, layers: 60 }, { requests: 70, layers: 50 }, { layers: 1.3 })).toBe("requests");
  });

  it("says why", () => {
    const reason = reasonFor({ requests: 78, none: 81 }, { none: 37 });
    expect(reason).toBe(
      "Tokens a second that are to be expected: here alone 81.0, elsewhere 78.0. Tried: here alone 37.0.",
    );
  });
});

describe("loading the best", () => {
  /** Models that give what they give, and what became of them. */
  function models(gives: Partial<Record<Way, number | Error>>) {
    const loads: Way[] = [];
    let open = 0;
    let most = 0;
    const load = async (way: Way) => {
      loads.push(way);
      const speed = gives[way]!;
      if (speed instanceof Error) throw speed;
      most = Math.max(most, ++open);
      return { speed, engine: { dispose: () => void open-- } };
    };
    const trial = async ({ speed }: { speed: number }) => speed;
    const take = async (
      predicted: Speeds,
      doubts: Doubts = { none: 1.3, experts: 1.3, layers: 1.3, requests: 1.3 },
    ) => {
      const { way, tried } = await takeBest(predicted, doubts, load, trial);
      return { way, tried, loads, open, most };
    };
    return { take };
  }

  it("takes what keeps its promise, and loads nothing else", async () => {
    const { take } = models({ requests: 95 });
    expect(await take({ requests: 100, none: 50, layers: 60 })).toMatchObject({
      way: "requests",
      loads: ["requests"],
      open: 1,
    });
  });

  // 5 ms, 100 Mbit/s and half of the experts here: 81 tokens a second were foretold of this device alone, and it gave 37.
  it("leaves a way that breaks its promise", async () => {
    const { take } = models({ none: 37, requests: 87, layers: 50, experts: 16 });
    const found = await take({ none: 81, requests: 78, layers: 63, experts: 21 });
    expect(found).toMatchObject({ way: "requests", tried: { none: 37, requests: 87 }, loads: ["none", "requests"] });
    expect(found).toMatchObject({ open: 1, most: 1 });
  });

  it("comes back to what was tried before where the others are no better", async () => {
    const { take } = models({ none: 60, requests: 50, layers: 40 });
    const found = await take({ none: 81, requests: 78, layers: 63 });
    expect(found).toMatchObject({ way: "none", loads: ["none", "requests", "layers", "none"], open: 1, most: 1 });
  });

  it("finds what promised a little too little", async () => {
    const { take } = models({ none: 60, layers: 70 });
    expect(await take({ none: 60, layers: 50 })).toMatchObject({ way: "layers" });
    expect(await models({ none: 60, layers: 70 }).take({ none: 60, layers: 50 }, {})).toMatchObject({ way: "none" });
  });

  it("asks a server that was busy when it measured itself", async () => {
    const doubts = { none: 1.3, layers: 1.3, requests: 2 };
    const found = await models({ none: 50, requests: 58 }).take({ none: 43, layers: 27, requests: 35 }, doubts);
    expect(found).toMatchObject({ way: "requests", loads: ["requests"] });
  });

  it("tries nothing where there is no choice", async () => {
    expect(await models({ requests: 1 }).take({ requests: 100 })).toMatchObject({ way: "requests", tried: {} });
  });

  it("goes on without a way that there is no room for, and fails where there is none at all", async () => {
    const full = new OutOfMemoryError(1, "No room.");
    const busy = new CompanionError("busy", "Too many.");
    const found = await models({ none: full, requests: 20 }).take({ none: 100, requests: 50 });
    expect(found).toMatchObject({ way: "requests", tried: { none: 0, requests: 20 }, open: 1 });
    await expect(models({ none: full, requests: busy }).take({ none: 100, requests: 50 })).rejects.toThrow("No room.");
    await expect(models({ none: new Error("a fault") }).take({ none: 100, requests: 50 })).rejects.toThrow("a fault");
  });
});

describe("a trial", () => {
  let nowMs = 0;
  beforeEach(() => void vi.spyOn(performance, "now").mockImplementation(() => nowMs));
  afterEach(() => void vi.restoreAllMocks());

  /** Writes as many tokens as it has room for, the first ones slowly. */
  const writer = (room: number, tokenMs: number, firstMs = tokenMs) => {
    const done = { tokens: 0, cleared: 0 };
    async function* generate({ sampling }: { sampling: { maxTokens: number } }): AsyncGenerator<EngineEvent> {
      for (; done.tokens < Math.min(room, sampling.maxTokens); done.tokens++) {
        nowMs += done.tokens < 8 ? firstMs : tokenMs;
        yield { kind: "token", sampled: { token: 1, isLast: false, isFinite: true, slot: 0, position: 0 } };
      }
    }
    return { generate, clearCache: () => void done.cleared++, done };
  };

  it("counts what comes after the first tokens, and leaves nothing behind", async () => {
    const engine = writer(1000, 4, 80);
    expect(await trySpeed(engine)).toBe(250);
    expect(engine.done.tokens).toBeGreaterThan(32);
    expect(engine.done.cleared).toBe(1);
  });

  it("is content with few tokens where there is no room for more", async () => {
    for (const room of [1, 2, 3, 9]) expect(await trySpeed(writer(room, 1))).toBeGreaterThan(0);
  });

  it("waits no longer than for a few where they come slowly", async () => {
    const engine = writer(1000, 120);
    await trySpeed(engine);
    expect(engine.done.tokens).toBeLessThan(20);
  });
});
