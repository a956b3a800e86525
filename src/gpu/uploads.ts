import { Turns } from "../common/turns.ts";
import { StagingRing, type Upload } from "./staging-ring.ts";

/** How many read, check and upload a few megabytes at once. */
export const TURNS = 12;

const STAGING_BYTES = 8 * 2 ** 20;
const STAGING = 4;
/** From so many bytes on, `writeBuffer` makes new memory each time, whose pages cost more than the copy (in Dawn). */
const RING_BYTES = 4 * 2 ** 20;

/** The road from the host to the device's buffers, on which there is a bounded number of bytes at a time. */
export class Uploads {
  readonly #device: GPUDevice;
  #ring: StagingRing | undefined;
  /** Whoever reads and uploads a few megabytes does so in one of these, so that not too much of that is under way. */
  readonly turns = new Turns(TURNS);

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Once it returns, all bytes were taken. Sizes are multiples of 4, but where there is room for what pads them. */
  async put(uploads: readonly Upload[]): Promise<void> {
    const size = uploads.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
    if (size < RING_BYTES) {
      for (const { target, offset, bytes } of uploads) write(this.#device.queue, target, offset, bytes);
      return;
    }
    this.#ring ??= new StagingRing(this.#device, STAGING, STAGING_BYTES);
    for (const batch of batches(uploads)) {
      await this.#ring.put(batch);
      this.#ring.submit();
    }
  }

  /** Gives the staging memory back; it is made anew when it is needed. */
  dispose(): void {
    this.#ring?.dispose();
    this.#ring = undefined;
  }
}

/** The same bytes in as few batches as fit into staging buffers; larger ones are cut. */
function batches(uploads: readonly Upload[]): Upload[][] {
  const all: Upload[][] = [[]];
  let room = STAGING_BYTES;
  for (const { bytes, target, offset } of uploads) {
    for (let done = 0; done < bytes.byteLength; ) {
      const piece = bytes.subarray(done, done + room);
      all.at(-1)!.push({ bytes: piece, target, offset: offset + done });
      done += piece.byteLength;
      room -= Math.ceil(piece.byteLength / 4) * 4;
      if (room > 0) continue;
      all.push([]);
      room = STAGING_BYTES;
    }
  }
  return all.filter((batch) => batch.length > 0);
}

function write(queue: GPUQueue, buffer: GPUBuffer, offset: number, bytes: Uint8Array): void {
  const whole = bytes.byteLength & ~3;
  if (whole > 0) queue.writeBuffer(buffer, offset, bytes.buffer as ArrayBuffer, bytes.byteOffset, whole);
  if (whole === bytes.byteLength) return;
  const tail = new Uint8Array(4);
  tail.set(bytes.subarray(whole));
  queue.writeBuffer(buffer, offset + whole, tail);
}
