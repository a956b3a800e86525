import type { Plan } from "../gpu/plan.ts";

/**
 * Dispatches after which a step is cut: the device begins with the first piece while the driver is given the next. A
 * dispatch takes the driver about a fifth of the time that it takes the device, and each piece as long as twenty; between two
 * pieces the device waits for as long as three dispatches take it.
 */
const CUTS = [12, 44];

interface Encoded<T> {
  readonly commands: readonly GPUCommandBuffer[];
  readonly added: T;
}

/**
 * Steps of which none can be submitted before the host has heard of the one before, as those of a stage: time that it takes to
 * encode them would be the device's. So the next step of a plan is encoded while there is nothing else to do.
 */
export class StepsAhead<T> {
  readonly #device: GPUDevice;
  readonly #next = new Map<Plan, Encoded<T>>();
  #last: { readonly plan: Plan; readonly finish: (encoder: GPUCommandEncoder) => T } | undefined;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Submits all of a plan, and what `finish` adds behind it: of a plan always the same. */
  submit(plan: Plan, finish: (encoder: GPUCommandEncoder) => T): T {
    const { commands, added } = this.#next.get(plan) ?? this.#encode(plan, finish);
    this.#next.delete(plan);
    this.#last = { plan, finish };
    for (const piece of commands) this.#device.queue.submit([piece]);
    return added;
  }

  /** Encodes one more like the one that was submitted last. */
  ready(): void {
    if (!this.#last) return;
    const { plan, finish } = this.#last;
    if (!this.#next.has(plan)) this.#next.set(plan, this.#encode(plan, finish));
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
