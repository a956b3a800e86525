import { describe, expect, it } from "vitest";
import { bindWeights } from "../../../src/models/qwen3-next/bind-weights.ts";
import { type ModelConfig, parseConfig } from "../../../src/models/qwen3-next/config.ts";
import { tensorShapes } from "../../../src/models/qwen3-next/tensor-shapes.ts";
import { weightLeaves } from "../../../src/models/qwen3-next/weights.ts";
import { FolderSource } from "../../../src/platform/node/folder-source.ts";
import type { Checkpoint } from "../../../src/weights/checkpoint.ts";
import { decodeRows } from "../../../src/weights/decode.ts";
import { FileListSource } from "../../../src/weights/file-list-source.ts";
import type { WeightFormat, WeightSource } from "../../../src/weights/format.ts";
import { openCheckpoint } from "../../../src/weights/open-checkpoint.ts";
import { deviceFormat } from "../../../src/weights/plan-format.ts";
import { relativeError } from "../../support/compare.ts";
import { BLOCKS, decodeBlocks } from "../../support/gguf-blocks.ts";
import { type GgufModel, type GgufModelOptions, ggufModel } from "../../support/gguf-model.ts";
import { writeGguf, writeSplit } from "../../support/gguf-writer.ts";
import { readGolden } from "../../support/golden.ts";
import { memoryCheckpoint } from "../../support/memory-checkpoint.ts";
import {
  FIXTURES,
  fixtureFolder,
  inOrder,
  loadReferenceModel,
  ReferenceSession,
} from "../../support/reference-model.ts";
import { TINY } from "../../support/tiny-model.ts";

async function withFixture<T>(fixture: string, use: (checkpoint: Checkpoint) => T | Promise<T>): Promise<T> {
  const checkpoint = await openCheckpoint(await FolderSource.open(fixtureFolder(fixture)));
  try {
    return await use(checkpoint);
  } finally {
    await checkpoint.close();
  }
}

const convert = (fixture: string, options?: GgufModelOptions): Promise<GgufModel> =>
  withFixture(fixture, (checkpoint) => ggufModel(checkpoint, options));

const open = (files: Record<string, Uint8Array<ArrayBuffer>>): Promise<Checkpoint> =>
  openCheckpoint(new FileListSource(Object.entries(files).map(([name, bytes]) => new File([bytes], name))));

const openModel = ({ metadata, tensors }: GgufModel): Promise<Checkpoint> =>
  open({ "model.gguf": writeGguf(metadata, tensors) });

describe.each(FIXTURES)("%s as a GGUF", (fixture) => {
  it("has the configuration of its folder", async () => {
    const expected = await withFixture(fixture, ({ config }) => parseConfig(config));
    // The files do not say what no layer uses.
    expect({ ...parseConfig((await openModel(await convert(fixture))).config), ...unusedOf(expected) }).toEqual(
      expected,
    );
  });

  it("computes what transformers computes", async () => {
    const model = await loadReferenceModel(await openModel(await convert(fixture)));
    const golden = await readGolden(fixture);
    const logits = new ReferenceSession(model).run([inOrder(golden.tokens)]);
    expect(relativeError(logits.data, golden.logits)).toBeLessThan(1e-5);
  });
});

const unusedOf = ({ experts, denseSize, topK, expertSize, sharedExpertSize }: ModelConfig) =>
  experts > 0 ? { denseSize } : { topK, expertSize, sharedExpertSize };

/** What a type's numbers lose on the way, relative to all of a matrix: d S and d s become f16. */
const ROUNDING: Record<string, number> = { Q4_K: 1e-3, IQ4_XS: 3e-4 };

/** What `auto` makes of a matrix. */
const DEVICE_FORMAT: Record<string, WeightFormat> = {
  ...{ F32: "f32", F16: "f16", BF16: "bf16", Q4_0: "q4", Q4_1: "q4a", Q4_K: "q4a" },
  ...{ Q5_0: "q8", Q5_1: "q8", Q8_0: "q8", Q2_K: "q8", Q3_K: "q8", Q5_K: "q8", Q6_K: "q8" },
  ...{ IQ4_NL: "q8", IQ4_XS: "q8", MXFP4: "q8", NVFP4: "q8" },
};

/** Rows of 256 everywhere, and 64 columns to a value head: a block of 256 spans the four heads, in whatever order. */
const WIDE = {
  ...TINY,
  ...{ vocab_size: 32, hidden_size: 256, head_dim: 64, linear_num_value_heads: 4, linear_value_head_dim: 64 },
  ...{ num_experts: 2, num_experts_per_tok: 1, moe_intermediate_size: 256, shared_expert_intermediate_size: 256 },
};

/**
 * Qwen3-Next interleaves the projections of a key head's value heads; Qwen3.5 has them in tiles. All types are read by
 * the same code in both, so that a few of each kind of block do for the second.
 */
const FAMILIES = [
  { config: WIDE, style: { projections: "fused", experts: "single" }, types: Object.keys(BLOCKS) },
  {
    config: { ...WIDE, model_type: "qwen3_5_moe_text" },
    style: { projections: "split", experts: "stacked" },
    types: ["BF16", "Q8_0", "Q4_K", "Q3_K"],
  },
] as const;

const madeUp = ({ config, style }: (typeof FAMILIES)[number]): Checkpoint =>
  memoryCheckpoint(config, tensorShapes(parseConfig(config), style));

describe.each(FAMILIES)("$config.model_type", (family) => {
  const checkpoint = madeUp(family);

  it.each(family.types)("is read from %s as its definition says", async (type) => {
    const model = await ggufModel(checkpoint, { type: () => type });
    const opened = await openModel(model);
    const head = opened.tensors.get("lm_head.weight")!;
    expect((head.type ?? head.format).toLowerCase()).toBe(type.toLowerCase());
    const [actual, expected] = [opened, model.expected].map(leavesOf);
    const outlines = (leaves: WeightSource[]) =>
      leaves.map(({ label, rows, columns, role }) => ({ label, rows, columns, role }));
    expect(outlines(actual)).toEqual(outlines(expected));
    for (const [i, leaf] of actual.entries()) {
      const limit = Math.max(1e-6, ROUNDING[type] ?? 0);
      expect(relativeError(await valuesOf(leaf), await valuesOf(expected[i])), leaf.label).toBeLessThanOrEqual(limit);
      if (leaf.role === "matrix") expect(deviceFormat(leaf, "auto"), leaf.label).toBe(DEVICE_FORMAT[type]);
    }
  });
});

const leavesOf = (checkpoint: Checkpoint): WeightSource[] =>
  weightLeaves(bindWeights(parseConfig(checkpoint.config), checkpoint));

const valuesOf = async (leaf: WeightSource): Promise<Float32Array> => decodeRows(await leaf.read(0, leaf.rows));

it("keeps the bits of Q8_0 and Q4_0", async () => {
  for (const [type, format] of [
    ["Q8_0", "q8"],
    ["Q4_0", "q4"],
  ] as const) {
    const model = await convert("qwen3-next-tiny", { type: () => type });
    const head = leavesOf(await openModel(model)).find(({ label }) => label === "lm_head.weight")!;
    const { data, columns } = { ...model.tensors.find(({ name }) => name === "output.weight")!, columns: head.columns };
    const read = await head.read(8, 24);
    expect(read.format).toBe(format);
    const values = decodeBlocks(type, data).subarray(8 * columns, 24 * columns);
    expect(decodeRows(read)).toEqual(values);
  }
});

it("makes q8 of a layer whose projections differ in type, f32 of none", async () => {
  const type = (name: string) => (/attn_(gate|v)/.test(name) ? "Q5_1" : "Q4_1");
  const model = await convert("qwen3-next-tiny", { type });
  const [actual, expected] = [await openModel(model), model.expected].map(leavesOf);
  const stacked = actual.filter(({ label }) => /qkvz|qkv_proj/.test(label));
  expect(stacked.map((leaf) => deviceFormat(leaf, "auto"))).toEqual(["q8", "q8", "q8", "q8"]);
  for (const leaf of stacked) {
    const same = expected.find(({ label }) => label === leaf.label)!;
    expect(relativeError(await valuesOf(leaf), await valuesOf(same))).toBeLessThan(1e-6);
  }
});

it("reads the interleaved projection of the first files", async () => {
  const [plain, legacy] = await Promise.all(
    [false, true].map((legacy) => ggufModel(madeUp(FAMILIES[0]), { type: () => "Q8_0", legacy })),
  );
  expect(legacy.tensors.map(({ name }) => name)).toContain("blk.0.ssm_in.weight");
  const [actual, expected] = [await openModel(legacy), await openModel(plain)].map(leavesOf);
  for (const [i, leaf] of actual.entries()) expect(await leaf.read(0, 1)).toEqual(await expected[i].read(0, 1));
  const projection = actual.find(({ label }) => label.includes("qkvz"))!;
  const same = expected.find(({ label }) => label.includes("qkvz"))!;
  expect(await projection.read(0, projection.rows)).toEqual(await same.read(0, same.rows));
});

it("reads a model in parts, whichever is named", async () => {
  const { metadata, tensors, expected } = await convert("qwen3.5-dense-tiny", { type: () => "Q4_1" });
  const parts = Object.fromEntries(
    writeSplit(metadata, tensors, 3).map((part, i) => [`m-0000${i + 1}-of-00003.gguf`, part]),
  );
  const files = Object.entries(parts).map(([name, bytes]) => new File([bytes], name));
  for (const file of [undefined, "m-00003-of-00003.gguf"]) {
    const checkpoint = await openCheckpoint(new FileListSource(files), undefined, file);
    const [actual, wanted] = [checkpoint, expected].map(leavesOf);
    for (const [i, leaf] of actual.entries()) {
      expect(relativeError(await valuesOf(leaf), await valuesOf(wanted[i])), leaf.label).toBeLessThan(1e-6);
    }
  }
  const two = { ...parts };
  delete two["m-00002-of-00003.gguf"];
  await expect(open(two)).rejects.toThrow(/m-00002-of-00003\.gguf: there is no such file/);
  const other = { ...parts, "m-00003-of-00003.gguf": parts["m-00002-of-00003.gguf"] };
  await expect(open(other)).rejects.toThrow(/the same tensor twice/);
  const fewer = writeGguf({ ...metadata, "split.count": 3, "split.tensors.count": 9 }, tensors.slice(0, 2));
  await expect(open({ ...parts, "m-00001-of-00003.gguf": fewer })).rejects.toThrow(/tensors, and should hold 9/);
});

it("multiplies by the factors that stand beside NVFP4", async () => {
  const model = await ggufModel(madeUp(FAMILIES[1]), { type: () => "NVFP4" });
  const [E, one] = [2, Float32Array.of(3)];
  const each = Float32Array.from({ length: E }, (_, e) => e + 1);
  const factor = (name: string, values: Float32Array<ArrayBuffer>) =>
    ({ name, shape: [values.length], type: "F32", data: new Uint8Array(values.buffer) }) as const;
  model.tensors.push(
    factor("blk.0.ffn_down_shexp.scale", one),
    factor("blk.0.ffn_down_shexp.input_scale", one),
    factor("blk.0.ffn_down_exps.scale", each),
  );
  const leaves = [await openModel(model), model.expected].map(leavesOf);
  const [shared, sharedBefore] = leaves.map((all) => all.find(({ label }) => /0\.mlp\.shared.*down/.test(label))!);
  expect(await valuesOf(shared)).toEqual((await valuesOf(sharedBefore)).map((w) => 3 * w));
  const [experts, expertsBefore] = leaves.map((all) => all.find(({ label }) => /0\.mlp\.experts\.down/.test(label))!);
  const wanted = await valuesOf(expertsBefore);
  expect(await valuesOf(experts)).toEqual(wanted.map((w, i) => w * (Math.floor(i / (wanted.length / E)) + 1)));
  expect(deviceFormat(experts, "auto")).toBe("q8");
});

it("takes the further-token head for one, and nothing else in a block for granted", async () => {
  const model = await convert("qwen3.5-dense-tiny");
  const extra = (name: string, shape: number[]) => {
    const size = shape.reduce((a, b) => a * b, 1);
    return { name, shape, type: "F32", data: new Uint8Array(Float32Array.from({ length: size }, () => 2).buffer) };
  };
  const metadata = { ...model.metadata, "qwen35.block_count": 5, "qwen35.nextn_predict_layers": 1 };
  const head = [extra("blk.4.nextn.eh_proj.weight", [128, 256]), extra("blk.4.attn_norm.weight", [128])];
  head.push(extra("blk.4.nextn.enorm.weight", [128]));
  const checkpoint = await openModel({ ...model, metadata, tensors: [...model.tensors, ...head] });
  expect(leavesOf(checkpoint)).toHaveLength(leavesOf(model.expected).length);
  expect([...checkpoint.tensors.keys()].filter((name) => name.startsWith("mtp.")).sort()).toEqual([
    "mtp.fc.weight",
    "mtp.layers.0.input_layernorm.weight",
    "mtp.pre_fc_norm_embedding.weight",
  ]);
  const norm = decodeRows(await checkpoint.tensors.get("mtp.pre_fc_norm_embedding.weight")!.read(0, 1));
  expect(new Set(norm)).toEqual(new Set([1]));

  const unknown = await openModel({ ...model, tensors: [...model.tensors, extra("blk.0.attn_sinks.weight", [128])] });
  expect(() => leavesOf(unknown)).toThrow(/attn_sinks\.weight have no place/);
});
