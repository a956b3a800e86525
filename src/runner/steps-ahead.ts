import type { Plan } from "../gpu/plan.ts";

/**
 * Dispatches after which a step is cut: the device begins with the first piece while the driver is given the next. A
 * dispatch takes the driver about a fifth of the time that it takes the device, and each piece as long as fifteen.
 */
const CUTS = [6, 24, 84];

interface Encoded<T> {
  readonly commands: readonly GPUCommandBuffer[];
  readonly added: T;
}

/**
 * Steps of which none can be submitted before the host has heard of the one before, as those of a stage: time that it takes to
 * encode them would be the device's. So the next step of a plan is encoded while one runs.
 */
export class StepsAhead<T> {
  readonly #device: GPUDevice;
  readonly #next = new Map<Plan, Encoded<T>>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Submits all of a plan, and what `finish` adds behind it: of a plan always the same. */
  submit(plan: Plan, finish: (encoder: GPUCommandEncoder) => T): T {
    const { commands, added } = this.#next.get(plan) ?? this.#encode(plan, finish);
    for (const piece of commands) this.#device.queue.submit([piece]);
    this.#next.set(plan, this.#encode(plan, finish));
    return added;
  }

  #encode(plan: Plan, finish: (encoder: GPUCommandEncoder) => T): Encoded<T> {
    const end = plan.kernels.length;
    const bounds = [0, ...CUTS.filter((cut) => cut < end), end];
    let added!: T;
    const commands = bounds.slice(1).map((to, i) => {
      const encoder = this.#device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      plan.encode(pass, bounds[i], to);
      pass.end();
      if (to === end) added = finish(encoder);
      return encoder.finish();
    });
    return { commands, added };
  }
}
