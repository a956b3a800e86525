import { describe, expect, it } from "vitest";
import { parseSafetensors } from "../../src/weights/safetensors.ts";
import { encodeSafetensors, writeSafetensors } from "../../src/weights/write-safetensors.ts";

const tensors = [
  { name: "a", dtype: "F32", shape: [2], data: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8) },
  { name: "b", dtype: "U8", shape: [1, 3], data: Uint8Array.of(9, 10, 11) },
];

describe("safetensors files", () => {
  it("are written so that they read as they were given, with data on a multiple of 8", () => {
    const bytes = encodeSafetensors(tensors, { made: "here" });
    const { tensors: found, metadata } = parseSafetensors(bytes, "m");
    expect(metadata).toEqual({ made: "here" });
    expect(found[0].from % 8).toBe(0);
    const read = found.map(({ name, dtype, shape, from, to }) => ({ name, dtype, shape, data: bytes.slice(from, to) }));
    expect(read).toEqual(tensors);
  });

  it("come out the same part by part, each awaited", async () => {
    const parts: number[] = [];
    let writing = false;
    await writeSafetensors(
      async (part) => {
        expect(writing).toBe(false);
        writing = true;
        await Promise.resolve();
        parts.push(...part);
        writing = false;
      },
      tensors.map(({ data, ...layout }) => ({
        ...layout,
        sizeBytes: data.length,
        parts: () => [data.subarray(0, 1), data.subarray(1)],
      })),
    );
    expect(Uint8Array.from(parts)).toEqual(encodeSafetensors(tensors));
  });

  it("are not written wrong", async () => {
    expect(() => encodeSafetensors([tensors[0], tensors[0]])).toThrow(/two tensors are named a/);
    const short = { name: "a", dtype: "U8", shape: [2], sizeBytes: 2, parts: () => [Uint8Array.of(1)] };
    await expect(writeSafetensors(() => {}, [short])).rejects.toThrow(/a has 1 bytes and was announced with 2/);
  });
});
