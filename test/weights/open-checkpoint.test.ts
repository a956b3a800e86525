import { describe, expect, it } from "vitest";
import { CheckpointError } from "../../src/errors.ts";
import { FolderSource } from "../../src/platform/node/folder-source.ts";
import type { FileSource } from "../../src/weights/checkpoint.ts";
import { encodeRows } from "../../src/weights/convert.ts";
import { decodeRows } from "../../src/weights/decode.ts";
import { FileListSource } from "../../src/weights/file-list-source.ts";
import type { QuantizedFormat } from "../../src/weights/format.ts";
import { openCheckpoint } from "../../src/weights/open-checkpoint.ts";
import { PACKED_METADATA, packedLayout } from "../../src/weights/packed-tensors.ts";
import { encodeSafetensors } from "../../src/weights/write-safetensors.ts";
import { type ModelFiles, modelFiles, shardedFiles, tensors, toFiles } from "../support/model-files.ts";

const open = (files: ModelFiles) => openCheckpoint(new FileListSource(toFiles(files)));
const folder = (name: string) => new URL(`../../${name}`, import.meta.url).pathname;

describe("openCheckpoint", () => {
  it("reads configuration, tokenizer, template and the table of tensors", async () => {
    const checkpoint = await open(modelFiles());
    expect(checkpoint).toMatchObject({
      config: { model_type: "tiny" },
      generationConfig: { temperature: 0.5 },
      tokenizer: { json: { version: "1.0" } },
      chatTemplate: "from the config",
      sizeBytes: 16 + 12 + 16 + 8,
    });
    expect([...checkpoint.tensors.keys()]).toEqual(["norm", "matrix", "experts", "ids"]);
  });

  it("reads rows: a vector is one, a 3-D tensor has as many as its first two sizes", async () => {
    const read = async (name: string, from: number, to: number) => {
      const rows = await checkpoint.tensors.get(name)!.read(from, to);
      return { format: rows.format, rows: rows.rows, columns: rows.columns, values: [...decodeRows(rows)] };
    };
    const checkpoint = await open(modelFiles());
    expect(await read("norm", 0, 1)).toEqual({ format: "f32", rows: 1, columns: 4, values: [1, 2, 3, 4] });
    expect(await read("matrix", 1, 3)).toEqual({ format: "bf16", rows: 2, columns: 2, values: [3, 4, 5, 6] });
    expect(await read("experts", 3, 4)).toEqual({ format: "f16", rows: 1, columns: 2, values: [7, 8] });
    expect(await read("experts", 4, 4)).toEqual({ format: "f16", rows: 0, columns: 2, values: [] });
    await expect(read("matrix", 2, 4)).rejects.toThrow(/rows \[2, 4\) of matrix, which has 3/);
  });

  it("lists a tensor of another dtype and refuses to read it, by name", async () => {
    const { tensors } = await open(modelFiles());
    await expect(tensors.get("ids")!.read(0, 1)).rejects.toThrow(/model\.safetensors: tensor ids is I64/);
  });

  it("goes without what is optional", async () => {
    const bare = modelFiles({
      "generation_config.json": undefined,
      "tokenizer.json": undefined,
      "tokenizer_config.json": undefined,
    });
    const checkpoint = await open(bare);
    expect(checkpoint.generationConfig).toEqual({});
    expect(checkpoint.tokenizer).toBeUndefined();
    expect(checkpoint.chatTemplate).toBeUndefined();
  });

  it("prefers chat_template.jinja, and takes the default of several named templates", async () => {
    const jinja = await open(modelFiles({ "chat_template.jinja": "from the file" }));
    expect(jinja.chatTemplate).toBe("from the file");
    const list = [
      { name: "tool_use", template: "no" },
      { name: "default", template: "yes" },
    ];
    const named = modelFiles({ "tokenizer_config.json": JSON.stringify({ chat_template: list }) });
    expect((await open(named)).chatTemplate).toBe("yes");
  });

  it("reads shards through their index", async () => {
    const checkpoint = await open(shardedFiles());
    expect([...checkpoint.tensors.keys()]).toEqual(["norm", "matrix", "experts"]);
    expect([...decodeRows(await checkpoint.tensors.get("matrix")!.read(0, 1))]).toEqual([1, 2]);
  });

  const truncated = encodeSafetensors(tensors).slice(0, -1);
  const without = ({ "b.safetensors": _, ...rest }: ModelFiles) => rest;
  const outside = (file: unknown) => shardedFiles({ norm: file });
  it.each<[string, ModelFiles, RegExp]>([
    [
      "no config",
      modelFiles({ "config.json": undefined }),
      /no config\.json\. A model's folder holds .*tokenizer\.json/,
    ],
    ["broken config", modelFiles({ "config.json": "{" }), /config\.json: this is not JSON/],
    ["a list for a config", modelFiles({ "config.json": "[]" }), /config\.json: this is not a JSON object/],
    ["a broken tokenizer", modelFiles({ "tokenizer.json": "" }), /tokenizer\.json: this is not JSON/],
    ["no weights", modelFiles({ "model.safetensors": undefined }), /neither model\.safetensors nor .*index\.json/],
    ["weights cut off", modelFiles({ "model.safetensors": truncated }), /model\.safetensors: tensor ids ends at byte/],
    ["a missing shard", without(shardedFiles()), /index\.json: the shard b\.safetensors, one of 2, is missing/],
    ["a tensor that its shard lacks", shardedFiles({ gone: "a.safetensors" }), /a\.safetensors: .* names tensor gone/],
    ["an index without a map", { ...shardedFiles(), "model.safetensors.index.json": "{}" }, /no weight_map/],
    ["an index of null", { ...shardedFiles(), "model.safetensors.index.json": "null" }, /no weight_map/],
    ["an index cut off", { ...shardedFiles(), "model.safetensors.index.json": '{"w' }, /index\.json: this is not JSON/],
    [
      "a path in the index",
      outside("sub/a.safetensors"),
      /tensor norm is said to be in "sub\/a.*not a plain file name/,
    ],
    ["a backslash", outside("..\\a"), /not a plain file name/],
    ["the folder above", outside(".."), /not a plain file name/],
    ["an empty name", outside(""), /not a plain file name/],
    ["a number for a name", outside(7), /not a plain file name/],
  ])("fails in one sentence for %s, and lets go of the files", async (_, files, message) => {
    let closed = 0;
    const list = new FileListSource(toFiles(files));
    const source: FileSource = {
      label: list.label,
      size: (name) => list.size(name),
      read: (name, range, signal) => list.read(name, range, signal),
      close: async () => void closed++,
    };
    const error = await openCheckpoint(source).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CheckpointError);
    expect((error as Error).message).toMatch(message);
    expect(closed).toBe(1);
  });
});

describe("quantised tensors in a file", () => {
  const values = Float32Array.from({ length: 2 * 3 * 64 }, (_, i) => Math.sin(i));
  const packed = (format: QuantizedFormat, name: string, shape: number[]) => {
    const { data, scales } = encodeRows(values, shape.at(-1)!, format, name);
    const layout = packedLayout(name, shape, format);
    return [
      { ...layout.data, data },
      { ...layout.scales, data: scales! },
    ];
  };
  const [data, scales] = packed("q4", "w", [6, 64]);
  const file = (parts: Parameters<typeof encodeSafetensors>[0], metadata: Record<string, string> = PACKED_METADATA) =>
    modelFiles({ "model.safetensors": encodeSafetensors(parts, metadata) });

  it.each<[QuantizedFormat, number[], number]>([
    ["q4", [6, 64], 384 / 2 + 24],
    ["q8", [6, 64], 384 + 24],
    ["q4", [2, 3, 64], 384 / 2 + 24],
    ["q8", [2, 6, 32], 384 + 24],
    ["q4a", [2, 3, 64], 384 / 2 + 48],
  ])("are offered as %s %j, and rows come as they were written", async (format, shape, sizeBytes) => {
    const checkpoint = await open(file(packed(format, "w", shape)));
    expect([...checkpoint.tensors.keys()]).toEqual(["w"]);
    const tensor = checkpoint.tensors.get("w")!;
    expect(tensor).toMatchObject({ format, shape, sizeBytes });
    const columns = shape.at(-1)!;
    const all = encodeRows(values, columns, format, "w");
    expect(await tensor.read(0, 384 / columns)).toEqual(all);
    expect(decodeRows(await tensor.read(2, 5))).toEqual(decodeRows(all).subarray(2 * columns, 5 * columns));
  });

  it("are integers to everyone else: without the mark they are refused", async () => {
    const checkpoint = await open(file([data, scales], {}));
    expect([...checkpoint.tensors.keys()]).toEqual(["w", "w.scales"]);
    await expect(checkpoint.tensors.get("w")!.read(0, 1)).rejects.toThrow(/w is U8/);
  });

  it.each<[string, ModelFiles, RegExp]>([
    ["no scales", file([data]), /tensor w\.scales is missing, not F16 \[6, 2\]/],
    ["scales of another shape", file([data, { ...scales, shape: [3, 4] }]), /is F16 \[3, 4\], not F16 \[6, 2\]/],
    ["columns without whole groups", file([{ ...data, shape: [24, 8] }, scales]), /w has 16 columns; q4 needs/],
    ["a version to come", file([data, scales], { sluice: "2" }), /version 2 .* Update Sluice/],
  ])("are refused with %s", async (_, files, message) => {
    await expect(open(files)).rejects.toThrow(message);
  });
});

describe("checkpoints of the repository", () => {
  it.each([
    "test/fixtures/qwen3-next-tiny",
    "test/fixtures/qwen3-next-yarn",
    "test/fixtures/qwen3.5-dense-tiny",
    "test/fixtures/qwen3.5-moe-tiny",
    "demo/public/models/sprout",
  ])("%s opens, and every tensor is there and finite", async (name) => {
    const checkpoint = await openCheckpoint(await FolderSource.open(folder(name)));
    expect(checkpoint.config.model_type).toMatch(/^qwen3/);
    expect(checkpoint.generationConfig).not.toEqual({});
    for (const tensor of checkpoint.tensors.values()) {
      const rows = tensor.shape.slice(0, -1).reduce((product, size) => product * size, 1);
      const read = await tensor.read(0, rows);
      expect(read).toMatchObject({ format: tensor.format, rows, columns: tensor.shape.at(-1) });
      expect(read.data.length + (read.scales?.length ?? 0)).toBe(tensor.sizeBytes);
      if (!decodeRows(read).every(Number.isFinite)) expect.fail(`${tensor.name} is not finite`);
    }
    await checkpoint.close();
  });

  it("Sprout has the formats that the demo promises, its tokenizer and its template", async () => {
    const checkpoint = await openCheckpoint(await FolderSource.open(folder("demo/public/models/sprout")));
    const format = (name: string) => checkpoint.tensors.get(name)?.format;
    expect(format("model.layers.0.mlp.experts.23.down_proj.weight")).toBe("q4");
    expect(format("mtp.layers.0.mlp.experts.0.up_proj.weight")).toBe("q4");
    expect(format("model.layers.3.self_attn.q_proj.weight")).toBe("q8");
    expect(format("lm_head.weight")).toBe("q8");
    expect(format("model.layers.0.mlp.gate.weight")).toBe("bf16");
    expect(format("model.layers.0.linear_attn.conv1d.weight")).toBe("bf16");
    expect(checkpoint.sizeBytes).toBeLessThan(25e6);
    expect(checkpoint.tokenizer).toBeDefined();
    expect(checkpoint.chatTemplate).toContain("<|im_start|>");
    await checkpoint.close();
  });
});
