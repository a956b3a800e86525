import { describe, expect, it } from "vitest";
import type { CheckpointTensor } from "../../src/weights/checkpoint.ts";
import { rowSource } from "../../src/weights/row-source.ts";

const COLUMNS = 4;

/** Row r holds 10 · r + its number; its memory is overwritten when it is taken back. */
function tensorOf(number: number, rows: number) {
  const taken: number[] = [];
  const tensor: CheckpointTensor = {
    ...{ name: `t${number}`, shape: [rows, COLUMNS], format: "bf16", sizeBytes: rows * COLUMNS * 2 },
    async read(from, to) {
      const words = Uint16Array.from({ length: (to - from) * COLUMNS }, (_, i) => {
        return 10 * (from + Math.floor(i / COLUMNS)) + number;
      });
      const release = () => {
        taken.push(words.length / COLUMNS);
        words.fill(0xffff);
      };
      return { format: "bf16", rows: to - from, columns: COLUMNS, data: new Uint8Array(words.buffer), release };
    },
  };
  return { tensor, taken };
}

const firsts = (data: Uint8Array) =>
  [...new Uint16Array(data.buffer, data.byteOffset)].filter((_, i) => i % COLUMNS === 0);

describe("rowSource", () => {
  it("gives rows that lie together as they are, for the reader to take back", async () => {
    const { tensor, taken } = tensorOf(1, 20);
    const source = rowSource("w", "matrix", COLUMNS, [{ tensor, from: 5, count: 10 }]);
    const { data, release } = await source.read(2, 4);
    expect(firsts(data)).toEqual([71, 81]);
    expect(taken).toEqual([]);
    release?.();
    expect(taken).toEqual([2]);
  });

  it("copies rows from here and there, and takes back what they were read into", async () => {
    const [a, b] = [tensorOf(1, 4), tensorOf(2, 4)];
    const source = rowSource("w", "matrix", COLUMNS, [
      { tensor: a.tensor, from: 2, count: 2 },
      { tensor: a.tensor, from: 0, count: 2 },
      { tensor: b.tensor, from: 1, count: 1 },
    ]);
    const { data } = await source.read(0, 5);
    expect(firsts(data)).toEqual([21, 31, 1, 11, 12]);
    expect(a.taken).toEqual([4]);
    expect(b.taken).toEqual([1]);
    expect(firsts((await source.read(0, 4)).data)).toEqual([21, 31, 1, 11]);
  });
});
