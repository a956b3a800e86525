/** Staging buffers from CPU to GPU that are mapped before there is anything to write: what comes late is written at the cost of a copy. */
export class Inbox {
  readonly #device: GPUDevice;
  readonly #free: GPUBuffer[] = [];
  readonly #all: GPUBuffer[] = [];

  constructor(
    device: GPUDevice,
    readonly sizeBytes: number,
  ) {
    this.#device = device;
  }

  /** Copies what will be `put` there to `target`, from `offset` on, with `encoder`. */
  copy(encoder: GPUCommandEncoder, target: GPUBuffer, offset: number): GPUBuffer {
    const staging = this.#free.pop() ?? this.#create();
    encoder.copyBufferToBuffer(staging, 0, target, offset, this.sizeBytes);
    return staging;
  }

  /** Writes the first bytes; the others are as they were. */
  put(staging: GPUBuffer, data: Uint32Array | Float32Array): void {
    new Uint8Array(staging.getMappedRange()).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    staging.unmap();
  }

  /** Takes a staging buffer back once its copy has been submitted. */
  release(staging: GPUBuffer): void {
    // On a device that is lost nothing is written any more.
    staging.mapAsync(GPUMapMode.WRITE).then(
      () => this.#free.push(staging),
      () => {},
    );
  }

  dispose(): void {
    for (const buffer of this.#all) buffer.destroy();
  }

  #create(): GPUBuffer {
    const usage = GPUBufferUsage.MAP_WRITE | GPUBufferUsage.COPY_SRC;
    const buffer = this.#device.createBuffer({ label: "inbox", size: this.sizeBytes, usage, mappedAtCreation: true });
    this.#all.push(buffer);
    return buffer;
  }
}
