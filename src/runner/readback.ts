/** Staging buffers for the one way from GPU to CPU. A ring, so that steps in flight do not wait for each other. */
export class Readback {
  readonly #device: GPUDevice;
  readonly #free: GPUBuffer[] = [];
  readonly #all: GPUBuffer[] = [];
  /** Readings so far. */
  count = 0;

  constructor(
    device: GPUDevice,
    readonly sizeBytes: number,
  ) {
    this.#device = device;
  }

  /** Copies `source` from `offset` on with `encoder`; `read` its content once the encoder has been submitted. */
  copy(encoder: GPUCommandEncoder, source: GPUBuffer, offset = 0): GPUBuffer {
    const staging = this.#free.pop() ?? this.#create();
    encoder.copyBufferToBuffer(source, offset, staging, 0, this.sizeBytes);
    return staging;
  }

  /** Calls `use` with the bytes; they are gone when it returns. */
  async read<T>(staging: GPUBuffer, use: (bytes: ArrayBuffer) => T): Promise<T> {
    await staging.mapAsync(GPUMapMode.READ);
    this.count++;
    const result = use(staging.getMappedRange());
    staging.unmap();
    this.release(staging);
    return result;
  }

  /** Takes back a staging buffer that nobody will read. */
  release(staging: GPUBuffer): void {
    this.#free.push(staging);
  }

  dispose(): void {
    for (const buffer of this.#all) buffer.destroy();
  }

  #create(): GPUBuffer {
    const usage = GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST;
    const buffer = this.#device.createBuffer({ label: "readback", size: this.sizeBytes, usage });
    this.#all.push(buffer);
    return buffer;
  }
}
