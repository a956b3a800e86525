import { expect, it } from "vitest";
import { choose } from "../../src/api/lean.ts";
import { type Facts, foretell } from "../../src/api/predict.ts";

/** A laptop that holds a fifth of the experts, or six of 48 layers, of a model that a server has whole. */
const LAPTOP: Facts = {
  device: { layerMs: 0.3, headMs: 2, elementsPerMs: 150_000, readMs: 0.5 },
  link: { latencyMs: 1, bytesPerSecond: 12e6 },
  host: { tokensPerSecond: 200, sumMs: 0.3, layers: { count: 48, hidden: 2048, maxBatchTokens: 512, passMs: 4.5 } },
  layers: 48,
  here: 6,
  sparse: { layers: 48, experts: 512, topK: 10, hidden: 2048 },
  expertElements: 3_145_728,
  expertBytes: 1_800_000,
  sharedSlots: 100,
  pagedSlots: 100,
  storeBytesPerSecond: 1e9,
};

const tokens = (changes: Partial<Facts>) => foretell({ ...LAPTOP, ...changes });

it("asks for experts once a layer, for layers once a token, and for requests never", () => {
  const near = tokens({});
  const far = tokens({ link: { latencyMs: 21, bytesPerSecond: 12e6 } });
  const moreMs = (way: "experts" | "layers" | "requests") => 1000 / far[way]! - 1000 / near[way]!;
  expect(moreMs("experts")).toBeCloseTo(20 * 48, 0);
  expect(moreMs("layers")).toBeCloseTo(20, 5);
  expect(moreMs("requests")).toBe(0);
  expect(far.none).toBe(near.none);
});

it("counts on the layers that run here to cost what they cost here", () => {
  const moreMs = 1000 / tokens({ here: 12 }).layers! - 1000 / tokens({ here: 6 }).layers!;
  expect(moreMs).toBeCloseTo(6 * (0.3 - 4.5 / 48), 5);
});

it("takes what is possible only", () => {
  expect(tokens({ sharedSlots: undefined, pagedSlots: undefined, here: undefined })).toEqual({ requests: 200 });
  expect(Object.keys(tokens({ host: { tokensPerSecond: 200 } })).sort()).toEqual(["none", "requests"]);
});

it("chooses what promises most, and of what is alike what leaves more here", () => {
  expect(choose(tokens({})).mode).toBe("requests");
  expect(choose(tokens({ host: { ...LAPTOP.host, tokensPerSecond: 20 } })).mode).toBe("layers");
  expect(choose({ requests: 100, layers: 96, experts: 50, none: 10 })).toMatchObject({
    mode: "layers",
    reason: expect.stringContaining("layers elsewhere 96.0"),
  });
  // All experts are here, and the server is no faster than this device.
  const host = { tokensPerSecond: 50, layers: { ...LAPTOP.host.layers!, passMs: 18 } };
  expect(choose(tokens({ pagedSlots: 512, host })).mode).toBe("none");
});
