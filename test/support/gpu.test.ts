import { expect, it } from "vitest";
import { testDevice } from "./gpu.ts";

it("shares one device with everything its adapter has", async () => {
  const { device, adapter, languageFeatures } = await testDevice();
  expect((await testDevice()).device).toBe(device);
  expect(device.features.size).toBe(adapter.features.size);
  expect(device.limits.maxBufferSize).toBe(adapter.limits.maxBufferSize);
  expect(languageFeatures.has("packed_4x8_integer_dot_product")).toBe(true);
});

it("has a basic device with WebGPU's defaults", async () => {
  const { limits } = (await testDevice("basic")).device;
  expect(limits.maxComputeWorkgroupStorageSize).toBe(16384);
  expect(limits.maxStorageBuffersPerShaderStage).toBe(8);
});

it.fails("fails a test whose device reports an error that nobody caught", async () => {
  const { device } = await testDevice();
  device.createBuffer({ size: 3, usage: 0 });
});
