import { describe, expect, it } from "vitest";
import { CheckpointError, UnsupportedModelError } from "../../../src/errors.ts";
import { parseConfig } from "../../../src/models/qwen3-next/config.ts";
import { tensorShapes } from "../../../src/models/qwen3-next/tensor-shapes.ts";
import type { FileSource } from "../../../src/weights/checkpoint.ts";
import { readGgufHeader } from "../../../src/weights/gguf/header.ts";
import { openGguf } from "../../../src/weights/gguf/open-gguf.ts";
import { encodeBlocks } from "../../support/gguf-blocks.ts";
import { ggufModel } from "../../support/gguf-model.ts";
import { writeGguf } from "../../support/gguf-writer.ts";
import { memoryCheckpoint } from "../../support/memory-checkpoint.ts";
import { random } from "../../support/random.ts";
import { TINY } from "../../support/tiny-model.ts";

/** One file in memory, which says how much of it was read. */
function memoryFile(bytes: Uint8Array<ArrayBuffer>, size = bytes.length): FileSource & { readBytes: number } {
  return {
    label: "memory",
    readBytes: 0,
    size: async () => size,
    async read(_name, { from, to } = { from: 0, to: size }) {
      if (to > size) throw new Error(`a read up to ${to} of ${size}`);
      this.readBytes += to - from;
      const part = new Uint8Array(to - from);
      part.set(bytes.subarray(from, Math.min(to, bytes.length)));
      return part;
    },
  };
}

const read = (bytes: Uint8Array<ArrayBuffer>) => readGgufHeader(memoryFile(bytes), "m.gguf");

const values = Float32Array.from({ length: 64 }, (_, i) => i);
const tensors = [
  { name: "norm", shape: [64], type: "F32", data: encodeBlocks("F32", values) },
  { name: "experts", shape: [1, 2, 32], type: "Q8_0", data: encodeBlocks("Q8_0", values) },
];
const metadata = {
  "general.architecture": "qwen3next",
  flag: true,
  count: 7,
  small: { f32: 1e-6 },
  names: ["a", "bé", ""],
  types: [1, -2, 3],
};

describe.each([2, 3])("version %i", (version) => {
  it.each([32, 64, 8])("gives metadata and tensors aligned to %i", async (alignment) => {
    const header = await read(writeGguf(metadata, tensors, { version, alignment }));
    expect(Object.fromEntries(header.metadata)).toMatchObject({
      ...{ "general.architecture": "qwen3next", flag: true, count: 7, small: Math.fround(1e-6) },
      ...{ names: ["a", "bé", ""], types: Int32Array.of(1, -2, 3) },
    });
    const [norm, experts] = header.tensors;
    expect(norm).toMatchObject({ name: "norm", shape: [64], typeName: "F32" });
    expect(experts).toMatchObject({ name: "experts", shape: [1, 2, 32], typeName: "Q8_0" });
    expect([norm.from % alignment, norm.to - norm.from, experts.from % alignment, experts.to - experts.from]).toEqual([
      0, 256, 0, 68,
    ]);
  });
});

it("reads a long header in a few doubling steps, and no weights", async () => {
  const names = Array.from({ length: 400_000 }, (_, i) => `token ${i}`);
  const bytes = writeGguf({ names }, [{ ...tensors[0], data: new Uint8Array(256) }]);
  const file = memoryFile(bytes, bytes.length + 2 ** 32);
  const header = await readGgufHeader(file, "m.gguf");
  expect(header.metadata.get("names")).toEqual(names);
  expect(file.readBytes).toBeLessThan(2 * bytes.length + 2 ** 20);
});

describe("a file that cannot be", () => {
  const whole = writeGguf(metadata, tensors);
  const change = (at: number, ...bytes: number[]) => {
    const changed = whole.slice();
    changed.set(bytes, at);
    return changed;
  };
  const tensor = (changes: object) => writeGguf(metadata, [{ ...tensors[1], ...changes }]);

  it.each([
    ["empty", new Uint8Array(0), /4 bytes more at byte 0, but the file has 0 bytes/],
    ["of another kind", change(0, 80, 75), /does not begin with GGUF/],
    ["a pointer", new TextEncoder().encode("version https://git-lfs.github.com/spec/v1"), /git lfs pull/],
    ["of version 1", change(4, 1), /version 1 of GGUF; Sluice reads 2 and 3/],
    ["big-endian", change(4, 0, 0, 0, 3), /big-endian/],
    ["of too many tensors", change(8, 255, 255, 255, 255), /4294967295 entries.*truncated or corrupt/],
    ["of too many keys", change(16, 255, 255, 255, 255, 255, 255), /entries.*truncated or corrupt/],
    ["with an endless key", change(24, 0, 0, 0, 0, 1), /4294967296 entries/],
    ["cut in its header", whole.slice(0, 200), /truncated or corrupt: download it again/],
    ["cut in its weights", whole.slice(0, -20), /tensor experts ends at byte \d+, the file at \d+\. It is truncated/],
    ["with five dimensions", tensor({ shape: [1, 1, 1, 1, 64] }), /experts has 5 dimensions/],
    ["with an empty tensor", tensor({ shape: [0, 32] }), /experts is \[0, 32\]/],
    ["with an immense tensor", tensor({ shape: [2 ** 40, 2 ** 40, 32] }), /experts is \[/],
    ["with broken blocks", tensor({ shape: [4, 16] }), /Q8_0 in rows of 16, no multiple of 32/],
    ["with one tensor twice", writeGguf(metadata, [tensors[0], tensors[0]]), /norm is there twice/],
    ["with odd alignment", writeGguf({ "general.alignment": 7 }, []), /alignment is 7, not a power of two/],
  ])("%s: says so", async (_what, bytes, message) => {
    const error = await read(bytes as Uint8Array<ArrayBuffer>).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
  });

  it("is found out before much is read, however long it claims to be", async () => {
    const names = writeGguf({ names: ["x"] }, []);
    // The count of the array: magic, version, counts, the key with its length, two types.
    names.set([255, 255, 255, 255, 0, 0, 0, 0], 4 + 4 + 16 + 8 + 5 + 4 + 4);
    const file = memoryFile(names, 2 ** 45);
    await expect(readGgufHeader(file, "m.gguf")).rejects.toThrow(/more than 33554432 bytes cannot be/);
    expect(file.readBytes).toBeLessThanOrEqual(2 ** 25);
  });
});

it("names a type that it does not read, before it reads weights", async () => {
  const file = memoryFile(writeGguf(metadata, [tensors[0], { ...tensors[1], type: 16 }]));
  await expect(openGguf(file, "m.gguf")).rejects.toThrow(/tensor experts is IQ2_XXS; Sluice reads F32, F16, Q4_0/);
  const unknown = memoryFile(writeGguf(metadata, [{ ...tensors[1], type: 99 }]));
  await expect(openGguf(unknown, "m.gguf")).rejects.toThrow(/tensor experts is type 99/);
});

it("names an architecture outside the family", async () => {
  const file = memoryFile(writeGguf({ "general.architecture": "llama" }, tensors));
  await expect(openGguf(file, "m.gguf")).rejects.toThrow(
    /architecture llama; Sluice runs qwen3next, qwen35, qwen35moe/,
  );
});

it("answers thousands of damaged headers with an error or a model, soon", async () => {
  const config = { ...TINY, model_type: "qwen3_5_text", num_experts: 0 };
  const shapes = tensorShapes(parseConfig(config), { projections: "split", experts: "stacked" });
  const model = await ggufModel(memoryCheckpoint(config, shapes));
  const tokenizer = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "qwen35",
    "tokenizer.ggml.token_type": [1, 1, 3],
  };
  const lists = { "tokenizer.ggml.tokens": ["a", "b", "<|im_end|>"], "tokenizer.ggml.merges": ["a b"] };
  const whole = writeGguf({ ...model.metadata, ...tokenizer, ...lists }, model.tensors);
  const dataBytes = model.tensors.reduce((sum, { data }) => sum + data.length, 0);
  const header = whole.slice(0, whole.length - dataBytes);
  expect((await openGguf(memoryFile(header, whole.length), "m.gguf")).tensors.size).toBe(shapes.size);

  const next = random(7);
  const upTo = (limit: number) => Math.floor(next() * limit);
  const damages: ((bytes: Uint8Array, at: number) => void)[] = [
    (bytes, at) => {
      bytes[at] ^= 1 << upTo(8);
    },
    (bytes, at) => {
      bytes[at] = upTo(16);
    },
    (bytes, at) => bytes.fill(255, at, at + 1 + upTo(8)),
    (bytes, at) => bytes.copyWithin(at, at + upTo(24)),
  ];
  const outcomes = { opened: 0, refused: 0 };
  for (let round = 0; round < 3000; round++) {
    const bytes = header.slice();
    for (let flips = 1 + upTo(2); flips > 0; flips--) damages[upTo(damages.length)](bytes, upTo(bytes.length));
    const size = next() < 0.1 ? upTo(whole.length) : whole.length;
    const file = memoryFile(bytes, size);
    try {
      await openGguf(file, "m.gguf");
      outcomes.opened++;
    } catch (error) {
      if (!(error instanceof CheckpointError || error instanceof UnsupportedModelError)) throw error;
      outcomes.refused++;
    }
    expect(file.readBytes).toBeLessThanOrEqual(size);
  }
  expect(outcomes.opened).toBeGreaterThan(100);
  expect(outcomes.refused).toBeGreaterThan(500);
});
