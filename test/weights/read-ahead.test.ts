import { describe, expect, it } from "vitest";
import type { FileSource } from "../../src/weights/checkpoint.ts";
import { readAhead } from "../../src/weights/read-ahead.ts";

const MiB = 2 ** 20;
const content = Uint8Array.from({ length: 5 * MiB }, (_, i) => (i * 7) ^ (i >> 8));

function source(): FileSource & { reads: string[] } {
  const reads: string[] = [];
  return {
    reads,
    label: "memory",
    size: async () => content.length,
    async read(_name, range, signal) {
      reads.push(range ? `${range.from / MiB}-${range.to / MiB}` : "all");
      await new Promise((resolve) => setTimeout(resolve, 1));
      signal?.throwIfAborted();
      return content.slice(range?.from, range?.to);
    },
  };
}

describe("readAhead", () => {
  it.each([
    [0, 10],
    [2 * MiB - 5, 2 * MiB + 5],
    [5 * MiB - 3, 5 * MiB],
    [7, 7],
    [MiB, 3 * MiB],
  ])("gives the bytes [%d, %d)", async (from, to) => {
    const bytes = await readAhead(source()).read("a", { from, to });
    expect(Buffer.compare(bytes, content.subarray(from, to))).toBe(0);
  });

  it("reads a block once for all who ask for parts of it, and large ranges directly", async () => {
    const files = source();
    const ahead = readAhead(files);
    await Promise.all([1, 2, 3].map((from) => ahead.read("a", { from, to: from + 100 })));
    await ahead.read("a", { from: 4 * MiB + 5, to: 5 * MiB });
    await ahead.read("a", { from: 5 * MiB - 5, to: 5 * MiB });
    await ahead.read("a");
    expect(files.reads).toEqual(["0-2", `${4 + 5 / MiB}-5`, "4-5", "all"]);
  });

  it("serves a caller whose block another one aborted", async () => {
    const files = source();
    const ahead = readAhead(files);
    const controller = new AbortController();
    const first = ahead.read("a", { from: 0, to: 8 }, controller.signal);
    const second = ahead.read("a", { from: 8, to: 16 });
    const caught = expect(first).rejects.toThrow("enough");
    setTimeout(() => controller.abort(new Error("enough")));
    await caught;
    expect(await second).toEqual(content.slice(8, 16));
  });

  it("keeps no more than eight blocks, and forgets failed ones", async () => {
    const files = source();
    const ahead = readAhead(files);
    for (let i = 0; i <= 8; i++) await ahead.read(`file ${i}`, { from: 0, to: 1 });
    await ahead.read("file 8", { from: 1, to: 2 });
    expect(files.reads).toHaveLength(9);
    await ahead.read("file 0", { from: 1, to: 2 });
    expect(files.reads).toHaveLength(10);
    await expect(ahead.read("b", { from: 0, to: 1 }, AbortSignal.abort(new Error("no")))).rejects.toThrow("no");
    expect(await ahead.read("b", { from: 0, to: 1 })).toEqual(content.slice(0, 1));
  });
});
