import { invariant } from "../errors.ts";

/** Bytes, and where they go. */
export interface Upload {
  readonly bytes: Uint8Array;
  readonly target: GPUBuffer;
  readonly offset: number;
}

/**
 * Buffers that stay mapped between uploads, so that the host writes straight into what the device copies from. They are used
 * in turn; whoever comes while all are under way waits.
 */
export class StagingRing {
  readonly #device: GPUDevice;
  readonly #free: GPUBuffer[];
  readonly #waiting: ((buffer: GPUBuffer) => void)[] = [];
  readonly #all: readonly GPUBuffer[];

  constructor(
    device: GPUDevice,
    readonly count: number,
    readonly sizeBytes: number,
  ) {
    this.#device = device;
    const usage = GPUBufferUsage.MAP_WRITE | GPUBufferUsage.COPY_SRC;
    const descriptor = { label: "expert staging", size: sizeBytes, usage, mappedAtCreation: true };
    this.#all = Array.from({ length: count }, () => device.createBuffer(descriptor));
    this.#free = [...this.#all];
  }

  /** Brings `uploads`, one buffer's worth in all, to the device, in the order of the queue. */
  async put(uploads: readonly Upload[]): Promise<void> {
    const staging = this.#free.pop() ?? (await new Promise<GPUBuffer>((resolve) => this.#waiting.push(resolve)));
    const mapped = new Uint8Array(staging.getMappedRange());
    const encoder = this.#device.createCommandEncoder({ label: "expert upload" });
    let at = 0;
    for (const { bytes } of uploads) {
      mapped.set(bytes, at);
      at += roundUp(bytes.byteLength);
    }
    invariant(at <= this.sizeBytes, `${at} bytes in a staging buffer of ${this.sizeBytes}`);
    staging.unmap();
    at = 0;
    for (const { bytes, target, offset } of uploads) {
      encoder.copyBufferToBuffer(staging, at, target, offset, roundUp(bytes.byteLength));
      at += roundUp(bytes.byteLength);
    }
    this.#device.queue.submit([encoder.finish()]);
    // A lost device maps nothing more; steps notice.
    staging.mapAsync(GPUMapMode.WRITE).then(
      () => this.#release(staging),
      () => {},
    );
  }

  dispose(): void {
    for (const buffer of this.#all) buffer.destroy();
  }

  #release(staging: GPUBuffer): void {
    const next = this.#waiting.shift();
    if (next) next(staging);
    else this.#free.push(staging);
  }
}

const roundUp = (bytes: number): number => Math.ceil(bytes / 4) * 4;
