import { openGpu } from "../../src/platform/node/gpu.ts";

export interface TestDevice {
  readonly device: GPUDevice;
  readonly languageFeatures: ReadonlySet<string>;
}

let shared: Promise<TestDevice> | undefined;

/** The device that GPU tests of one process share, with every feature and limit of its adapter. */
export function testDevice(): Promise<TestDevice> {
  shared ??= open();
  return shared;
}

async function open(): Promise<TestDevice> {
  const { gpu, adapter } = await openGpu({ adapter: process.env.SLUICE_TEST_ADAPTER });
  const features = ["shader-f16", "subgroups", "timestamp-query"] as const;
  const device = await adapter.requestDevice({
    label: "tests",
    requiredFeatures: features.filter((f) => adapter.features.has(f)),
    requiredLimits: {
      maxBufferSize: adapter.limits.maxBufferSize,
      maxStorageBufferBindingSize: adapter.limits.maxStorageBufferBindingSize,
    },
  });
  device.addEventListener("uncapturederror", (event) => {
    throw new Error(`WebGPU: ${(event as GPUUncapturedErrorEvent).error.message}`);
  });
  return { device, languageFeatures: gpu.wgslLanguageFeatures };
}
