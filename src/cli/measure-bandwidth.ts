import type { Device } from "../gpu/device.ts";
import { quantile } from "./measure.ts";

/**
 * Bytes a second at which a kernel that does nothing else reads a buffer much larger than caches: what decoding is to be
 * compared with. Undefined where the device has no room for it.
 */
export async function measureBandwidth({ gpu, isSoftware, profile }: Device): Promise<number | undefined> {
  const size = Math.min(isSoftware ? 2 ** 26 : 2 ** 29, profile.maxBindingBytes) & ~(STRIDE - 1);
  gpu.pushErrorScope("out-of-memory");
  const source = gpu.createBuffer({ size, usage: GPUBufferUsage.STORAGE });
  const sink = gpu.createBuffer({ size: 16, usage: GPUBufferUsage.STORAGE });
  try {
    if (await gpu.popErrorScope()) return undefined;
    const module = gpu.createShaderModule({ label: "bandwidth", code: READ });
    const pipeline = await gpu.createComputePipelineAsync({ layout: "auto", compute: { module } });
    const entries = [source, sink].map((buffer, binding) => ({ binding, resource: { buffer } }));
    const group = gpu.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    const passes = isSoftware ? 1 : 16;
    const times: number[] = [];
    for (let i = 0; i < 6; i++) {
      const encoder = gpu.createCommandEncoder({ label: "bandwidth" });
      const pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      for (let n = 0; n < passes; n++) pass.dispatchWorkgroups(size / STRIDE);
      pass.end();
      const start = performance.now();
      gpu.queue.submit([encoder.finish()]);
      await gpu.queue.onSubmittedWorkDone();
      times.push(performance.now() - start);
    }
    return (1000 * passes * size) / quantile(times.slice(1), 0.5);
  } finally {
    source.destroy();
    sink.destroy();
  }
}

/** Bytes that one workgroup reads. */
const STRIDE = 256 * 16 * 16;

const READ = `
@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> sink: array<u32, 4>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var all = vec4<u32>();
  for (var i = 0u; i < 16u; i++) { all |= source[(group.x * 16u + i) * 256u + lane]; }
  // The buffer is all zeros, which no compiler knows.
  if (any(all != vec4<u32>())) { sink[lane & 3u] = all.x; }
}
`;
