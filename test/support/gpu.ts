import { afterEach } from "vitest";
import { describeAdapter } from "../../src/gpu/describe-adapter.ts";
import { openGpu } from "../../src/platform/node/gpu.ts";

/** The adapter to test with, as a part of its name; the best one by default. */
export const testAdapterName = process.env.SLUICE_TEST_ADAPTER || undefined;

/** What to test on; with `fast` it leaves out bounds checks and cleared workgroup memory, as `--fast` does. */
export const openTestGpu = () => openGpu({ adapter: testAdapterName, fast: process.env.SLUICE_TEST_FAST === "1" });

export interface TestDevice {
  readonly device: GPUDevice;
  readonly adapter: GPUAdapter;
  readonly languageFeatures: ReadonlySet<string>;
}

const devices = { full: undefined, basic: undefined } as Record<"full" | "basic", Promise<TestDevice> | undefined>;
const failures: string[] = [];

/**
 * A GPU device that all tests of a file share. `full` has every feature and limit of the adapter; `basic` has WebGPU's
 * defaults only, which is all that any browser promises. An error that nobody caught, and a lost device, fail the test
 * during which they happen.
 */
export function testDevice(kind: "full" | "basic" = "full"): Promise<TestDevice> {
  devices[kind] ??= openDevice(kind);
  return devices[kind];
}

/** Features of the adapter under test. */
export async function adapterFeatures(): Promise<ReadonlySet<string>> {
  return new Set((await openTestGpu()).adapter.features);
}

afterEach(async () => {
  // Errors of work that was submitted last arrive after it.
  await Promise.all(Object.values(devices).map(async (opened) => (await opened)?.device.queue.onSubmittedWorkDone()));
  const messages = failures.splice(0);
  if (messages.length > 0) throw new Error(messages.join("\n"));
});

/** All bytes of a buffer. */
export async function readBuffer(device: GPUDevice, buffer: GPUBuffer): Promise<ArrayBuffer> {
  const staging = device.createBuffer({ size: buffer.size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const bytes = staging.getMappedRange().slice(0);
  staging.destroy();
  return bytes;
}

async function openDevice(kind: "full" | "basic"): Promise<TestDevice> {
  const { gpu, adapter } = await openTestGpu();
  const label = `test device (${describeAdapter(adapter).name}, ${kind})`;
  const device = await adapter.requestDevice(kind === "full" ? { label, ...everything(adapter) } : { label });
  device.addEventListener("uncapturederror", ({ error }) => failures.push(`${label}: ${error.message}`));
  void device.lost.then(({ reason, message }) => {
    if (reason !== "destroyed") failures.push(`${label} was lost: ${message}`);
  });
  return { device, adapter, languageFeatures: gpu.wgslLanguageFeatures };
}

function everything(adapter: GPUAdapter): GPUDeviceDescriptor {
  const requiredLimits: Record<string, number> = {};
  // Limits are getters of the prototype, so Object.keys finds none.
  for (const name in adapter.limits) requiredLimits[name] = adapter.limits[name as keyof GPUSupportedLimits] as number;
  return { requiredFeatures: [...adapter.features] as GPUFeatureName[], requiredLimits };
}
