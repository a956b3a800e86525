import { Bell } from "../common/waiting.ts";
import { DeviceLostError, invariant } from "../errors.ts";

/** Bytes, and where they go. */
export interface Upload {
  readonly bytes: Uint8Array;
  readonly target: GPUBuffer;
  readonly offset: number;
}

/** Mapped memory, and the copies that will leave it. */
interface Slab {
  readonly buffer: GPUBuffer;
  readonly mapped: Uint8Array;
  readonly copies: Copy[];
  used: number;
}

/** Uploads that follow each other on both sides are one. */
interface Copy {
  readonly from: number;
  size: number;
  readonly target: GPUBuffer;
  readonly to: number;
}

/**
 * Memory that stays mapped between uploads, so that the host writes straight into what the device copies from. Uploads are
 * put together: they go out with the next commands, or when a slab is full. Slabs are used in turn; whoever comes while all
 * are under way waits.
 */
export class StagingRing {
  readonly #device: GPUDevice;
  readonly #all: readonly GPUBuffer[];
  readonly #free: Slab[];
  #open: Slab | undefined;
  readonly #freed = new Bell();
  #lost: DeviceLostError | undefined;

  /** @param sizeBytes of a slab, which no single `put` exceeds */
  constructor(
    device: GPUDevice,
    count: number,
    readonly sizeBytes: number,
  ) {
    this.#device = device;
    const usage = GPUBufferUsage.MAP_WRITE | GPUBufferUsage.COPY_SRC;
    const descriptor = { label: "staging", size: sizeBytes, usage, mappedAtCreation: true };
    this.#all = Array.from({ length: count }, () => device.createBuffer(descriptor));
    this.#free = this.#all.map(emptySlab);
    void device.lost.then(({ message, reason }) => {
      this.#lost = new DeviceLostError(message || reason);
      this.#freed.ring();
    });
  }

  /**
   * Takes `uploads` over: `submit` brings them to the device, in the order of the queue.
   * @throws DeviceLostError
   */
  async put(uploads: readonly Upload[]): Promise<void> {
    const size = uploads.reduce((sum, { bytes }) => sum + roundUp(bytes), 0);
    invariant(size <= this.sizeBytes, `${size} bytes in a staging buffer of ${this.sizeBytes}`);
    if (this.#lost) throw this.#lost;
    let slab = this.#withRoom(size);
    while (!slab) {
      await this.#freed.heard();
      if (this.#lost) throw this.#lost;
      slab = this.#withRoom(size);
    }
    for (const { bytes, target, offset } of uploads) {
      const size = roundUp(bytes);
      slab.mapped.set(bytes, slab.used);
      const last = slab.copies.at(-1);
      if (last?.target === target && last.to + last.size === offset) last.size += size;
      else slab.copies.push({ from: slab.used, size, target, to: offset });
      slab.used += size;
    }
  }

  /** Submits what was put, and `commands` behind it. */
  submit(commands: readonly GPUCommandBuffer[] = []): void {
    const slab = this.#open;
    if (!slab) {
      if (commands.length > 0) this.#device.queue.submit(commands);
      return;
    }
    this.#open = undefined;
    const { buffer, copies } = slab;
    buffer.unmap();
    const encoder = this.#device.createCommandEncoder({ label: "upload" });
    for (const { from, size, target, to } of copies) encoder.copyBufferToBuffer(buffer, from, target, to, size);
    this.#device.queue.submit([encoder.finish(), ...commands]);
    // A lost device maps nothing more.
    buffer.mapAsync(GPUMapMode.WRITE).then(
      () => this.#release(buffer),
      () => {},
    );
  }

  dispose(): void {
    for (const buffer of this.#all) buffer.destroy();
  }

  #withRoom(size: number): Slab | undefined {
    if (this.#open && this.#open.used + size > this.sizeBytes) this.submit();
    this.#open ??= this.#free.pop();
    return this.#open;
  }

  #release(buffer: GPUBuffer): void {
    this.#free.push(emptySlab(buffer));
    this.#freed.ring();
  }
}

const emptySlab = (buffer: GPUBuffer): Slab => ({
  buffer,
  mapped: new Uint8Array(buffer.getMappedRange()),
  copies: [],
  used: 0,
});

/** Copies are of whole words. */
const roundUp = ({ byteLength }: Uint8Array): number => Math.ceil(byteLength / 4) * 4;
