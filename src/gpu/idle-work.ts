/**
 * Work that counts for nothing. A GPU that is idle half of the time, as that of a stage with one reply, lowers its clocks and
 * takes seconds to raise them again: an H200 had 345 to 1,800 MHz instead of 1,980.
 */
export class IdleWork {
  readonly #device: GPUDevice;
  /** Ends when it can be submitted; no step waits for that. */
  readonly ready: Promise<void>;
  #compiled: { readonly pipeline: GPUComputePipeline; readonly group: GPUBindGroup } | undefined;

  constructor(device: GPUDevice) {
    this.#device = device;
    this.ready = this.#compile();
    // On a device that is lost there is nothing to keep awake.
    this.ready.catch(() => {});
  }

  async #compile(): Promise<void> {
    const device = this.#device;
    const module = device.createShaderModule({ label: "idle-work", code: SHADER });
    const compute = { module };
    const pipeline = await device.createComputePipelineAsync({ label: "idle-work", layout: "auto", compute });
    const buffer = device.createBuffer({ label: "idle-work", size: THREADS * 4, usage: GPUBufferUsage.STORAGE });
    const entries = [{ binding: 0, resource: { buffer } }];
    this.#compiled = { pipeline, group: device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }) };
  }

  /** Keeps a large GPU busy for a fifth of a millisecond, once it is ready. */
  submit(): void {
    if (!this.#compiled) return;
    const { pipeline, group } = this.#compiled;
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(THREADS / WORKGROUP);
    pass.end();
    this.#device.queue.submit([encoder.finish()]);
  }
}

const WORKGROUP = 256;
/** A workgroup for each processor of the largest GPUs. */
const THREADS = 132 * WORKGROUP;
/** Each waits for the one before. */
const ROUNDS = 100_000;

const SHADER = /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> results: array<f32>;
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  var x = f32(id.x);
  for (var i = 0u; i < ${ROUNDS}u; i++) { x = fma(x, 0.999, 0.5); }
  results[id.x] = x;
}
`;
