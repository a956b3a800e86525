import type { Plan } from "./plan.ts";

/**
 * Runs a plan once with a timestamp around every dispatch: nanoseconds on the device, in order. Each dispatch has a pass
 * of its own, so what would overlap does not. Browsers round timestamps; Dawn does unless `timestamp_quantization` is off.
 */
export async function profilePlan(device: GPUDevice, plan: Plan): Promise<{ kernel: string; ns: number }[]> {
  const count = plan.kernels.length;
  const querySet = device.createQuerySet({ type: "timestamp", count: 2 * count });
  const size = 16 * count;
  const resolved = device.createBuffer({ size, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
  const staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  const encoder = device.createCommandEncoder({ label: "profile" });
  for (let i = 0; i < count; i++) {
    const timestampWrites = { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
    const pass = encoder.beginComputePass({ timestampWrites });
    plan.encodeOne(pass, i);
    pass.end();
  }
  encoder.resolveQuerySet(querySet, 0, 2 * count, resolved, 0);
  encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const times = new BigUint64Array(staging.getMappedRange());
  const result = plan.kernels.map((kernel, i) => ({ kernel, ns: Number(times[2 * i + 1] - times[2 * i]) }));
  for (const resource of [querySet, resolved, staging]) resource.destroy();
  return result;
}
