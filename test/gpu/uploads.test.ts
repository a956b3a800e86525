import { afterEach, describe, expect, it } from "vitest";
import { DeviceLostError } from "../../src/errors.ts";
import { Uploads } from "../../src/gpu/uploads.ts";
import { openTestGpu, readBuffer, testDevice } from "../support/gpu.ts";

const MB = 2 ** 20;
const made: Uploads[] = [];
afterEach(() => {
  for (const uploads of made.splice(0)) uploads.dispose();
});

async function open() {
  const { device } = await testDevice();
  const uploads = new Uploads(device);
  made.push(uploads);
  return { device, uploads };
}

/** A prime's worth of numbers again and again. */
function bytesOf(size: number, seed: number): Uint8Array {
  const bytes = Uint8Array.from({ length: Math.min(size, 4093) }, (_, i) => (i * 31 + (i >> 8) + seed) & 255);
  const all = new Uint8Array(size);
  for (let at = 0; at < size; at += bytes.length) all.set(bytes.subarray(0, size - at), at);
  return all;
}

describe("Uploads", () => {
  // Small ones are written, large ones staged, the largest cut.
  it.each([
    ["some bytes", [12, 1, 3]],
    ["one piece", [5 * MB]],
    ["neighbours and odd sizes", [2 * MB, 3 * MB + 2, 4 * MB + 1, 7]],
    ["more than all staging buffers", [20 * MB + 6, 16 * MB]],
  ])("brings %s to where they belong", async (_, sizes) => {
    const { device, uploads } = await open();
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    // The first two follow each other, others are apart.
    const startOf = (i: number) =>
      sizes.slice(0, i).reduce((sum, size) => sum + Math.ceil(size / 4) * 4, i > 1 ? 4 * i : 0);
    const starts = sizes.map((_, i) => startOf(i));
    const size = starts.at(-1)! + Math.ceil(sizes.at(-1)! / 4) * 4;
    const targets = [0, 1].map(() => device.createBuffer({ size: size + 16, usage }));
    const pieces = sizes.map((size, i) => bytesOf(size, i));
    await uploads.put(
      targets.flatMap((target, t) => pieces.map((bytes, i) => ({ bytes, target, offset: starts[i] + 8 * t }))),
    );
    for (const [t, target] of targets.entries()) {
      const found = new Uint8Array(await readBuffer(device, target));
      for (const [i, piece] of pieces.entries()) {
        const at = starts[i] + 8 * t;
        expect(Buffer.compare(found.subarray(at, at + piece.length), piece), `piece ${i} in ${t}`).toBe(0);
      }
      target.destroy();
    }
  });

  it("fails on a lost device instead of waiting for it", async () => {
    const { adapter } = await openTestGpu();
    const device = await adapter.requestDevice();
    device.addEventListener("uncapturederror", (event) => event.preventDefault());
    const uploads = new Uploads(device);
    const target = device.createBuffer({ size: 8 * MB, usage: GPUBufferUsage.COPY_DST });
    const put = () => uploads.put([{ bytes: new Uint8Array(8 * MB), target, offset: 0 }]);
    const puts = Array.from({ length: 20 }, put);
    device.destroy();
    const failed = (await Promise.allSettled(puts)).filter(({ status }) => status === "rejected");
    expect(failed.length).toBeGreaterThan(0);
    await expect(put()).rejects.toThrow(DeviceLostError);
    for (const { reason } of failed as PromiseRejectedResult[]) expect(reason).toBeInstanceOf(DeviceLostError);
  });
});
