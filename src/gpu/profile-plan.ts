import type { Plan } from "./plan.ts";

/** Nanoseconds on the device. */
export interface PlanProfile {
  /** Each dispatch in a pass of its own, in order: what would overlap does not, and each carries the cost of timestamps. */
  readonly kernels: readonly { readonly kernel: string; readonly ns: number }[];
  /** All of them in one pass, as they run in earnest: the median of WHOLE_RUNS. */
  readonly wholeNs: number;
}

const WHOLE_RUNS = 5;

/**
 * Runs a plan with a timestamp around every dispatch, then some times with one around all. Browsers round timestamps; Dawn does
 * unless `timestamp_quantization` is off.
 */
export async function profilePlan(device: GPUDevice, plan: Plan): Promise<PlanProfile> {
  const count = plan.kernels.length;
  const ranges = Array.from({ length: count }, (_, i) => [i, i + 1] as const);
  const times = await timePasses(device, plan, ranges);
  const wholes = await timePasses(device, plan, Array(WHOLE_RUNS).fill([0, count]));
  const wholeNs = wholes.sort((a, b) => a - b)[WHOLE_RUNS >> 1];
  return { kernels: plan.kernels.map((kernel, i) => ({ kernel, ns: times[i] })), wholeNs };
}

/** How long a pass over each range of dispatches takes. */
async function timePasses(
  device: GPUDevice,
  plan: Plan,
  ranges: readonly (readonly [from: number, to: number])[],
): Promise<number[]> {
  const querySet = device.createQuerySet({ type: "timestamp", count: 2 * ranges.length });
  const size = 16 * ranges.length;
  const resolved = device.createBuffer({ size, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder({ label: "profile" });
  for (const [i, [from, to]] of ranges.entries()) {
    const timestampWrites = { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
    const pass = encoder.beginComputePass({ timestampWrites });
    plan.encode(pass, from, to);
    pass.end();
  }
  encoder.resolveQuerySet(querySet, 0, 2 * ranges.length, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const times = new BigUint64Array(staging.getMappedRange());
  const result = ranges.map((_, i) => Number(times[2 * i + 1] - times[2 * i]));
  for (const resource of [querySet, resolved, staging]) resource.destroy();
  return result;
}
