import { expect, test, vi } from "vitest";
import { create, globals } from "webgpu";
import { Device } from "../../src/gpu/device.ts";
import { compilesMatrices } from "../../src/gpu/matrix-trial.ts";
import { MATRICES } from "../../src/gpu/profile.ts";
import { testDevice } from "../support/gpu.ts";
import { matrixShape } from "../support/matrices.ts";

const shape = await matrixShape();

const SHAPES = [
  { m: 16, n: 16, k: 16 },
  { m: 8, n: 8, k: 8 },
];

test.each(SHAPES)("products of $m × $n × $k compile where matrices are as we know them", async (shape) => {
  const { device } = await nullDevice();
  expect(await compilesMatrices(device, shape)).toBe(true);
});

test.runIf(shape)("the adapter under test compiles matrices", async () => {
  expect(await compilesMatrices((await testDevice()).device, shape!)).toBe(true);
});

test("a device whose compiler has other functions for matrices goes without", async () => {
  const { gpu, adapter, device } = await nullDevice();
  const uncaptured = vi.fn();
  device.addEventListener("uncapturederror", uncaptured);
  expect((await Device.open({ gpu, adapter: large(adapter, device) })).profile.matrix).toEqual(SHAPES[0]);

  const { createShaderModule } = device;
  // Chromium 147: subgroupMatrixLoad<T>(pointer, offset, isColumnMajor, stride)
  device.createShaderModule = (descriptor) =>
    createShaderModule.call(device, { ...descriptor, code: descriptor.code.replaceAll(/, (row|col)_major>/g, ">") });
  const { profile } = await Device.open({ gpu, adapter: large(adapter, device) });
  expect(profile).toMatchObject({ matrix: undefined, f16: true, subgroups: true });
  await device.queue.onSubmittedWorkDone();
  expect(uncaptured).not.toHaveBeenCalled();
});

/** Dawn's backend that computes nothing, but compiles matrices. */
async function nullDevice() {
  Object.assign(globalThis, globals);
  const gpu = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = (await gpu.requestAdapter())!;
  const device = await adapter.requestDevice({ requiredFeatures: ["shader-f16", "subgroups", MATRICES] });
  return { gpu, adapter, device };
}

/** An adapter like a large GPU's that gives this device. */
function large({ limits, features }: GPUAdapter, device: GPUDevice): GPUAdapter {
  const config = { componentType: "f16", resultComponentType: "f32", M: 16, N: 16, K: 16 };
  const info = { vendor: "null", subgroupMinSize: 32, subgroupMaxSize: 32, subgroupMatrixConfigs: [config] };
  return { limits, features, info, requestDevice: async () => device } as unknown as GPUAdapter;
}
