import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Device } from "../../src/gpu/device.ts";
import { dataBytes, scaleBytes, type WeightFormat, type WeightSource } from "../../src/weights/format.ts";
import { loadWeight } from "../../src/weights/load.ts";
import { openTestGpu, readBuffer } from "../support/gpu.ts";

let device: Device;
beforeAll(async () => {
  device = await Device.open(await openTestGpu());
});
afterAll(() => device.dispose());

interface Shape {
  readonly format: WeightFormat;
  readonly rows: number;
  readonly columns: number;
  readonly partRows?: number;
  readonly turnBytes?: number;
}

/** Bytes that say where they are, small enough for finite numbers and scales. */
function plane(bytes: number): Uint8Array {
  const some = Uint8Array.from({ length: 4093 }, (_, i) => (i * 7 + (i >> 6)) % 61);
  const all = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += some.length) all.set(some.subarray(0, bytes - at), at);
  return all;
}

function sourceOf({ format, rows, columns, ...turns }: Shape) {
  const data = plane(dataBytes(format, rows * columns));
  const scales = plane(scaleBytes(format, rows * columns));
  const state = { turns: [] as number[], held: 0, mostHeld: 0, failAt: -1, underWay: 0 };
  let thisTurn = 0;
  const source: WeightSource = {
    ...{ label: "made", role: "matrix", format, rows, columns, ...turns },
    async read(from, to) {
      if (thisTurn++ === 0) {
        queueMicrotask(() => {
          state.turns.push(thisTurn);
          thisTurn = 0;
        });
      }
      state.underWay++;
      state.mostHeld = Math.max(state.mostHeld, ++state.held);
      // What fails does so at once, and what was asked for with it takes longest.
      const ms = from === state.failAt ? 0 : from === state.failAt + 1000 ? 150 : 5 + (from % 3);
      await new Promise((resolve) => setTimeout(resolve, ms));
      state.underWay--;
      if (from === state.failAt) throw new Error(`no row ${from}`);
      const cut = (all: Uint8Array, bytes: typeof dataBytes) =>
        all.slice(bytes(format, from * columns), bytes(format, to * columns));
      const rows = cut(data, dataBytes);
      return {
        ...{ format, columns, rows: to - from, data: rows },
        ...(scales.length > 0 && { scales: cut(scales, scaleBytes as typeof dataBytes) }),
        release: () => {
          state.held--;
          rows.fill(255);
        },
      };
    },
  };
  return { source, data, scales, state };
}

const readBack = async (buffer: GPUBuffer) => new Uint8Array(await readBuffer(device.gpu, buffer));

const step = (onBytes: (bytes: number) => void = () => {}) => ({ device, quantization: "auto", onBytes }) as const;

describe("loadWeight", () => {
  it.each<[string, Shape, number]>([
    ["slice by slice", { format: "q4", rows: 3000, columns: 1024, partRows: 1000 }, 1],
    ["many slices in a turn", { format: "q4", rows: 17_000, columns: 1024, partRows: 1000, turnBytes: 8e6 }, 13],
    ["q8 of odd rows", { format: "q8", rows: 5001, columns: 2080, partRows: 504, turnBytes: 8e6 }, 7],
    ["f32 without parts", { format: "f32", rows: 1030, columns: 1000 }, 1],
  ])("brings %s to the device", async (_, shape, perTurn) => {
    const { source, data, scales, state } = sourceOf(shape);
    let read = 0;
    const weight = await loadWeight(
      source,
      step((bytes) => {
        read += bytes;
      }),
    );
    expect(Buffer.compare((await readBack(weight.data!)).subarray(0, data.length), data)).toBe(0);
    if (weight.scales) {
      expect(Buffer.compare((await readBack(weight.scales)).subarray(0, scales.length), scales)).toBe(0);
    }
    expect(Math.max(...state.turns)).toBeGreaterThanOrEqual(perTurn);
    expect(read).toBe(data.length + scales.length);
    expect(state.held).toBe(0);
    expect(state.mostHeld).toBeLessThanOrEqual(12 * perTurn);
    device.free([weight.data!, ...(weight.scales ? [weight.scales] : [])]);
  });

  it("fails once, with nothing under way any more, and begins no more", async () => {
    const { source, state } = sourceOf({ format: "q4", rows: 80_000, columns: 64, partRows: 1000 });
    state.failAt = 16_000;
    const many = { ...source, partRows: 16_000 };
    await expect(loadWeight(many, step())).rejects.toThrow("no row 16000");
    expect(state.underWay).toBe(0);
    const turns = sourceOf({ format: "q8", rows: 40_000, columns: 1024, partRows: 1000, turnBytes: 3.5e6 });
    turns.state.failAt = 1000;
    await expect(loadWeight(turns.source, step())).rejects.toThrow("no row 1000");
    expect(turns.state.underWay).toBe(0);
    expect(turns.state.turns.length).toBeLessThan(14);
  });
});
