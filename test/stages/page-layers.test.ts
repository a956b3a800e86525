import { afterAll, beforeAll, expect, it } from "vitest";
import { runnerOptions } from "../../src/api/load-options.ts";
import { openDevice } from "../../src/api/open-device.ts";
import { type OpenedModel, openModel } from "../../src/api/open-model.ts";
import type { Device } from "../../src/gpu/device.ts";
import { memoryPlan } from "../../src/runner/memory-plan.ts";
import { type LayerChoice, layerChoices, pageStages } from "../../src/stages/page-layers.ts";
import { ObservedPlatform } from "../support/observed-platform.ts";

let model: OpenedModel;
let device: Device;
beforeAll(async () => {
  const platform = new ObservedPlatform();
  model = await openModel(platform, "demo/public/models/sprout", {});
  ({ device } = await openDevice(platform));
});
afterAll(async () => {
  device.dispose();
  await model.checkpoint.close();
});

const options = () => ({
  ...runnerOptions(model.config, { maxContext: 256, maxBatchTokens: 64 }),
  kvFormat: "f16" as const,
});
const choices = (memory?: string | number) => layerChoices(memory, model.sources, device.profile, options());

it("a share of the experts is some layers whole, or more of them with fewer experts each", () => {
  expect(choices("25%")).toEqual([{ here: 2 }, { here: 4, expertSlots: 12 }, { here: 7, expertSlots: 7 }]);
  // Fewer experts than a token takes would be of no use.
  expect(choices("10%")).toEqual([{ here: 1 }, { here: 4, expertSlots: 5 }, { here: 7, expertSlots: 4 }]);
  expect(choices()).toEqual([{ here: 1 }]);
  expect(choices("100%")).toEqual([{ here: 7 }]);
});

it("bytes are kept to", () => {
  const bytesOf = ({ here, expertSlots }: LayerChoice) => {
    const [first, last] = pageStages(model.sources, options(), here);
    const total = (stage: typeof first, expertSlots?: number) =>
      memoryPlan(stage.sources, device.profile, { ...stage.options, expertSlots }).total;
    return total(first, expertSlots) + total(last);
  };
  const whole = bytesOf({ here: 7 });
  for (const memory of [0.6 * whole, 0.8 * whole]) {
    const found = choices(memory);
    for (const choice of found) expect(bytesOf(choice)).toBeLessThanOrEqual(memory);
    expect(found.length).toBeGreaterThan(1);
    expect(found[0].expertSlots).toBeUndefined();
    expect(bytesOf({ here: found[0].here + 1 })).toBeGreaterThan(memory);
  }
  expect(choices(1e6)).toEqual([]);
});
