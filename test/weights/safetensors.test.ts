import { describe, expect, it } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import { parseSafetensors } from "../../src/weights/safetensors.ts";

/** A file made by hand: prefix, JSON, data. */
function file(header: unknown, dataBytes: number): Uint8Array {
  const json = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const tensor = (dtype: unknown, shape: unknown, ...offsets: number[]) => ({ dtype, shape, data_offsets: offsets });

describe("parseSafetensors", () => {
  it("lists tensors by their place, with offsets from the file's start, and metadata", () => {
    const header = {
      __metadata__: { format: "pt" },
      second: tensor("BF16", [2, 3], 4, 16),
      first: tensor("F32", [], 0, 4),
    };
    const start = 8 + JSON.stringify(header).length;
    expect(parseSafetensors(file(header, 16), "m")).toEqual({
      metadata: { format: "pt" },
      tensors: [
        { name: "first", file: "m", dtype: "F32", shape: [], from: start, to: start + 4 },
        { name: "second", file: "m", dtype: "BF16", shape: [2, 3], from: start + 4, to: start + 16 },
      ],
    });
  });

  it("allows gaps, empty tensors and dtypes it does not know", () => {
    const header = { a: tensor("F8_E5M3", [7], 0, 9), b: tensor("F32", [0, 4], 9, 9), c: tensor("I64", [1], 16, 24) };
    expect(parseSafetensors(file(header, 24), "m").tensors.map(({ name }) => name)).toEqual(["a", "b", "c"]);
  });

  const huge = file({}, 0);
  huge.fill(255, 0, 8);
  it.each<[string, Uint8Array, RegExp]>([
    ["nothing", new Uint8Array(0), /has 0 bytes, too few/],
    ["a prefix cut off", new Uint8Array(7), /has 7 bytes, too few/],
    ["an absurd header length", huge, /header of 18446744073709552000 bytes cannot be/],
    ["a header cut off", file({ a: tensor("F32", [1], 0, 4) }, 4).subarray(0, 30), /header has \d+ bytes, the file 30/],
    ["no JSON", file("{ oops", 0), /not JSON/],
    ["a list", file("[]", 0), /not a JSON object/],
    ["broken UTF-8", file({ a: 1 }, 0).fill(0xff, 9, 10), /not JSON/],
    ["a tensor that is nothing", file({ a: null }, 0), /tensor a has no sound dtype/],
    ["no dtype", file({ a: { shape: [1], data_offsets: [0, 4] } }, 4), /tensor a has no sound dtype/],
    ["a negative size", file({ a: tensor("F32", [-1], 0, 4) }, 4), /tensor a has no sound dtype/],
    ["a fractional offset", file({ a: tensor("F32", [1], 0.5, 4.5) }, 8), /tensor a has no sound dtype/],
    ["one offset", file({ a: tensor("F32", [1], 4) }, 4), /tensor a has no sound dtype/],
    [
      "offsets turned round",
      file({ a: tensor("F32", [1], 4, 0) }, 4),
      /tensor a ends at byte 0, before it begins at 4/,
    ],
    ["a shape too large", file({ a: tensor("F16", [2, 2], 0, 4) }, 4), /a: F16 \[2, 2\] takes 8 bytes, but .* span 4/],
    ["data cut off", file({ a: tensor("F32", [2], 0, 8) }, 7), /tensor a ends at byte \d+, the file at \d+.*truncated/],
    ["an overlap", file({ a: tensor("F32", [2], 0, 8), b: tensor("F32", [1], 4, 8) }, 8), /b begins at .* within a/],
    ["a Git LFS pointer", new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\n"), /Git LFS pointer/],
  ])("refuses %s", (_, bytes, message) => {
    expect(() => parseSafetensors(bytes, "m")).toThrow(CheckpointError);
    expect(() => parseSafetensors(bytes, "m")).toThrow(message);
  });
});
