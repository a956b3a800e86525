import type { Plan } from "../gpu/plan.ts";
import { Inbox } from "./inbox.ts";
import { Readback } from "./readback.ts";

/**
 * Dispatches after which a step is cut: the device begins with the first piece while the driver is given the next. A
 * dispatch takes the driver about a fifth of the time that it takes the device, and each piece as long as twenty; between two
 * pieces the device waits for as long as three dispatches take it.
 */
const CUTS = [12, 44];

/** A plan's steps, encoded before what they read is there. Of a plan always the same. */
export interface StepAhead {
  readonly plan: Plan;
  /** What is written last: it is copied there in front of the first dispatch. */
  readonly input: Place;
  /** What is read: it is copied from there behind the last. */
  readonly output: Place;
}

interface Place {
  readonly buffer: GPUBuffer;
  readonly offset: number;
  readonly sizeBytes: number;
}

interface Encoded {
  readonly commands: readonly GPUCommandBuffer[];
  readonly input: GPUBuffer;
  readonly output: GPUBuffer;
}

interface Known {
  readonly step: StepAhead;
  readonly inbox: Inbox;
  readonly readback: Readback;
  next?: Encoded;
}

/**
 * Steps of which none can be submitted before the host has heard of the one before, as those of a stage: time that it takes to
 * encode them would be the device's. So the next step of a plan is encoded while there is nothing else to do.
 */
export class StepsAhead {
  readonly #device: GPUDevice;
  readonly #known = new Map<Plan, Known>();
  #last: Known | undefined;

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Readings so far. */
  get count(): number {
    return [...this.#known.values()].reduce((sum, { readback }) => sum + readback.count, 0);
  }

  /** Submits all of a step that reads `input`. What it gives reads the output: its bytes are gone when `use` returns. */
  submit(step: StepAhead, input: Uint32Array | Float32Array): <T>(use: (bytes: ArrayBuffer) => T) => Promise<T> {
    const known = this.#knownOf(step);
    const encoded = known.next ?? this.#encode(known);
    known.next = undefined;
    this.#last = known;
    known.inbox.put(encoded.input, input);
    for (const piece of encoded.commands) this.#device.queue.submit([piece]);
    known.inbox.release(encoded.input);
    return (use) => known.readback.read(encoded.output, use);
  }

  /** Encodes one more like the one that was submitted last. */
  ready(): void {
    if (this.#last) this.#last.next ??= this.#encode(this.#last);
  }

  dispose(): void {
    for (const { inbox, readback } of this.#known.values()) {
      inbox.dispose();
      readback.dispose();
    }
  }

  #knownOf(step: StepAhead): Known {
    const known = this.#known.get(step.plan);
    if (known) return known;
    const inbox = new Inbox(this.#device, step.input.sizeBytes);
    const readback = new Readback(this.#device, step.output.sizeBytes);
    this.#known.set(step.plan, { step, inbox, readback });
    return this.#knownOf(step);
  }

  #encode({ step, inbox, readback }: Known): Encoded {
    const { plan, input: to, output: from } = step;
    const all = plan.kernels.length;
    const bounds = [0, ...CUTS.filter((cut) => cut < all), all];
    let input!: GPUBuffer;
    let output!: GPUBuffer;
    const commands = bounds.slice(1).map((end, i) => {
      const encoder = this.#device.createCommandEncoder();
      if (i === 0) input = inbox.copy(encoder, to.buffer, to.offset);
      const pass = encoder.beginComputePass();
      plan.encode(pass, bounds[i], end);
      pass.end();
      if (end === all) output = readback.copy(encoder, from.buffer, from.offset);
      return encoder.finish();
    });
    return { commands, input, output };
  }
}
