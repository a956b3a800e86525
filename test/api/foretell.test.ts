import { expect, it } from "vitest";
import { chooseWay } from "../../src/api/choose-way.ts";
import { type Facts, foretell } from "../../src/api/foretell.ts";

/** A laptop that holds a fifth of the experts, or six of 48 layers, of a model that a server has whole. */
const LAPTOP: Facts = {
  device: { layerMs: 0.3, headMs: 2, elementsPerMs: 3e8, readMs: 0.5 },
  paged: { slots: 100, layerMs: 4.3 },
  link: { latencyMs: 1, bytesPerSecond: 12e6, sumMs: 1.8, passMs: 6 },
  hostTokensPerSecond: 200,
  layers: 48,
  choices: [{ here: 6 }],
  sparse: { layers: 48, experts: 512, topK: 10 },
  expertElements: 3_145_728,
  expertBytes: 1_800_000,
  sharedSlots: 100,
  pagedSlots: 100,
  storeBytesPerSecond: 1e9,
};

const { link } = LAPTOP;
const tokens = (changes: Partial<Facts>) => foretell({ ...LAPTOP, ...changes }).predicted;
const ms = (changes: Partial<Facts>, way: "none" | "experts" | "layers" | "requests") => 1000 / tokens(changes)[way]!;

it("asks for experts once a layer, for layers once a token, and for requests never", () => {
  const far = { link: { ...link, latencyMs: 21, sumMs: 21.8, passMs: 26 } };
  const moreMs = (way: "experts" | "layers" | "requests") => ms(far, way) - ms({}, way);
  expect(moreMs("experts")).toBeCloseTo(20 * 48, 0);
  expect(moreMs("layers")).toBeCloseTo(20, 5);
  expect(moreMs("requests")).toBe(0);
  expect(ms(far, "none")).toBe(ms({}, "none"));
});

it("counts on the layers that run here to cost what they cost here", () => {
  expect(ms({ choices: [{ here: 12 }] }, "layers") - ms({}, "layers")).toBeCloseTo(6 * (0.3 - 5 / 48), 5);
});

it("counts on layers that read experts to cost what was measured, and as many misses less where they hold more", () => {
  expect(ms({}, "none")).toBeCloseTo(48 * 4.3 + 2.5, 5);
  const halfOfIt = ms({ pagedSlots: 256 }, "none");
  // Of the hits of text, 40 % with a fifth of the experts and 73 % with half.
  expect((halfOfIt - 2.5) / 48 - 0.3).toBeCloseTo(4 * ((1 - 0.725) / (1 - 0.3926)), 2);
  expect(ms({ pagedSlots: 512 }, "none")).toBeCloseTo(48 * 0.3 + 2.5, 5);
});

it("where reading was not measured in a reply, promises no more than the store can give", () => {
  const bytes = 10 * (1 - 0.3926) * 1_800_000;
  expect(ms({ paged: undefined }, "none")).toBeCloseTo(48 * (0.3 + 0.5 + bytes / 1e6) + 2.5, -1);
});

it("leaves as many layers as make the most of it, with experts read here where that is faster", () => {
  const choices = [{ here: 6 }, { here: 40, expertSlots: 400 }];
  expect(foretell({ ...LAPTOP, choices }).choice).toEqual({ here: 6 });
  const slow = { ...LAPTOP, choices, link: { ...link, passMs: 200 } };
  expect(foretell(slow).choice).toEqual({ here: 40, expertSlots: 400 });
  expect(foretell({ ...slow, paged: { slots: 100, layerMs: 40 } }).choice).toEqual({ here: 6 });
});

it("promises what is possible only", () => {
  expect(tokens({ sharedSlots: undefined, pagedSlots: undefined, choices: [] })).toEqual({ requests: 200 });
  const unable = { latencyMs: 1, bytesPerSecond: 12e6 };
  expect(Object.keys(tokens({ link: unable })).sort()).toEqual(["none", "requests"]);
  expect(tokens({ hostTokensPerSecond: undefined })).not.toHaveProperty("requests");
});

it("promises as much with all experts here as with none elsewhere", () => {
  for (const slots of [512, Number.POSITIVE_INFINITY]) {
    expect(ms({ sharedSlots: slots }, "experts")).toBeCloseTo(48 * (0.3 + 0.5) + 2.5, 5);
  }
});

it("takes no more off than a layer, however slow this device is at experts", () => {
  const device = { ...LAPTOP.device, elementsPerMs: 1 };
  expect(ms({ device }, "experts")).toBeGreaterThan(48 * 0.5);
});

it.each<[string, Partial<Facts>]>([
  ["requests", {}],
  // A server that writes to many, of whose layers a page still gets its part.
  ["layers", { hostTokensPerSecond: 20 }],
  ["layers", { hostTokensPerSecond: undefined }],
  // A server that is near, and slow at all but a few experts.
  ["experts", { hostTokensPerSecond: 10, link: { ...link, latencyMs: 0.3, sumMs: 0.6, passMs: 200 } }],
  ["none", { hostTokensPerSecond: 4, link: { ...link, latencyMs: 50, sumMs: 51, passMs: 300 } }],
  // All experts are here, and the server is no faster than this device.
  ["none", { hostTokensPerSecond: 50, pagedSlots: 512, link: { ...link, passMs: 18 } }],
])("%s wins where it should: %j", (way, changes) => {
  expect(chooseWay(tokens(changes), {})).toBe(way);
});
