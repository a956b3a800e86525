import type { Stop } from "./recorder.ts";
import type { Scratch } from "./resources.ts";

export interface ScratchPlan {
  /** Which slot each scratch tensor lives in. */
  readonly slots: ReadonlyMap<Scratch, number>;
  /** Bytes of each slot. */
  readonly sizes: readonly number[];
}

/**
 * Gives scratch tensors memory by their lifetimes: a slot is used again once its last reader has been recorded. The slot
 * that has been free longest goes first, so that a write rarely has to wait for the reads before it.
 */
export function planScratch(scratches: readonly Scratch[], stops: readonly Stop[] = []): ScratchPlan {
  const slots = new Map<Scratch, number>();
  const sizes: number[] = [];
  const freeFrom: number[] = [];
  const used = scratches
    .filter((s) => s.firstUse >= 0)
    .map((scratch) => lifetime(scratch, stops))
    .sort((a, b) => a.first - b.first);
  for (const { scratch, first, last } of used) {
    const size = roundUp(scratch.sizeBytes, 256);
    let slot = -1;
    for (let i = 0; i < sizes.length; i++) {
      const fits = freeFrom[i] < first && sizes[i] >= size && sizes[i] <= 2 * size;
      if (fits && (slot < 0 || freeFrom[i] < freeFrom[slot])) slot = i;
    }
    if (slot < 0) slot = sizes.push(size) - 1;
    freeFrom[slot] = last;
    slots.set(scratch, slot);
  }
  return { slots, sizes };
}

/**
 * When a tensor is needed. What runs again must find its inputs, and keep what an earlier pass has left; where a plan runs on
 * beyond a stop, what crosses it is needed until the end.
 */
function lifetime(scratch: Scratch, stops: readonly Stop[]): { scratch: Scratch; first: number; last: number } {
  const { firstUse, lastUse, isRetained } = scratch;
  let first = firstUse;
  let last = isRetained ? Number.POSITIVE_INFINITY : lastUse;
  for (const { from, to, runsOn } of stops) {
    if (firstUse >= to || lastUse < from) continue;
    last = Math.max(last, runsOn && firstUse < from ? Number.POSITIVE_INFINITY : to - 1);
    first = Math.min(first, from);
  }
  return { scratch, first, last };
}

/** GPU buffers for scratch, shared by all plans of a device: plans never run at the same time. */
export class ScratchArena {
  readonly #device: GPUDevice;
  readonly #buffers: GPUBuffer[] = [];

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  get sizeBytes(): number {
    return this.#buffers.reduce((sum, b) => sum + b.size, 0);
  }

  /** One buffer for each size, at least that large; no two the same. */
  take(sizes: readonly number[]): GPUBuffer[] {
    const free = [...this.#buffers].sort((a, b) => a.size - b.size);
    const order = sizes.map((size, i) => ({ size, i })).sort((a, b) => b.size - a.size);
    const taken: GPUBuffer[] = [];
    for (const { size, i } of order) {
      const at = free.findIndex((b) => b.size >= size);
      taken[i] = at >= 0 ? free.splice(at, 1)[0] : this.#create(size);
    }
    return taken;
  }

  dispose(): void {
    for (const buffer of this.#buffers) buffer.destroy();
    this.#buffers.length = 0;
  }

  #create(size: number): GPUBuffer {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
    const buffer = this.#device.createBuffer({ label: `scratch ${this.#buffers.length}`, size, usage });
    this.#buffers.push(buffer);
    return buffer;
  }
}

const roundUp = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple;
