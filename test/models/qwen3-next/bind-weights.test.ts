import { describe, expect, it } from "vitest";
import { CheckpointError } from "../../../src/errors.ts";
import { bindWeights } from "../../../src/models/qwen3-next/bind-weights.ts";
import { parseConfig } from "../../../src/models/qwen3-next/config.ts";
import { tensorShapes } from "../../../src/models/qwen3-next/tensor-shapes.ts";
import { countParameters, mapWeights, weightLeaves } from "../../../src/models/qwen3-next/weights.ts";
import { encodeRows } from "../../../src/weights/convert.ts";
import { decodeRows } from "../../../src/weights/decode.ts";
import type { WeightSource } from "../../../src/weights/format.ts";
import { type MemoryCheckpoint, madeUp, memoryCheckpoint } from "../../support/memory-checkpoint.ts";
import { TINY } from "../../support/tiny-model.ts";

const config = parseConfig(TINY);
const fused = tensorShapes(config, { projections: "fused", experts: "single" });
const split = tensorShapes(config, { projections: "split", experts: "stacked" });
const bind = (shapes = fused, options = {}) => {
  const checkpoint = memoryCheckpoint(TINY, shapes, options);
  return { checkpoint, weights: bindWeights(config, checkpoint) };
};
const read = async (source: WeightSource, from = 0, to = source.rows) => decodeRows(await source.read(from, to));
const deltaOf = ({ weights }: ReturnType<typeof bind>) => {
  const { mixer } = weights.layers[0];
  if (mixer.kind !== "delta") throw new Error("layer 0 should be a delta layer");
  return mixer;
};
const moeOf = ({ weights }: ReturnType<typeof bind>) => {
  const { feedForward } = weights.layers[0];
  if (feedForward.kind !== "moe") throw new Error("layer 0 should be sparse");
  return feedForward;
};

describe("bindWeights", () => {
  it("undoes the interleaving of fused projections", async () => {
    const { keyHeads, valueHeads, keyDim, valueDim } = config.delta;
    const H = config.hiddenSize;
    const r = valueHeads / keyHeads;
    const block = 2 * keyDim + 2 * r * valueDim;
    const rowsOf = (name: string, rows: number) => {
      const values = madeUp(`model.layers.0.linear_attn.${name}`, rows * H);
      return (row: number) => values.slice(row * H, (row + 1) * H);
    };
    const qkvz = rowsOf("in_proj_qkvz.weight", keyHeads * block);
    const ba = rowsOf("in_proj_ba.weight", 2 * valueHeads);
    const mixer = deltaOf(bind());
    const inProj = await read(mixer.inProj);
    const gates = await read(mixer.gateProj);
    // Every source row, sent where the architecture's table says.
    const [Kd, Vd] = [keyHeads * keyDim, valueHeads * valueDim];
    for (let s = 0; s < keyHeads * block; s++) {
      const j = Math.floor(s / block);
      const p = s % block;
      let target: number;
      if (p < keyDim) target = j * keyDim + p;
      else if (p < 2 * keyDim) target = Kd + j * keyDim + (p - keyDim);
      else if (p < 2 * keyDim + r * valueDim) target = 2 * Kd + j * r * valueDim + (p - 2 * keyDim);
      else target = 2 * Kd + Vd + j * r * valueDim + (p - 2 * keyDim - r * valueDim);
      expect(inProj.slice(target * H, (target + 1) * H)).toEqual(qkvz(s));
    }
    for (let s = 0; s < 2 * valueHeads; s++) {
      const j = Math.floor(s / (2 * r));
      const p = s % (2 * r);
      const target = p < r ? j * r + p : valueHeads + j * r + (p - r);
      expect(gates.slice(target * H, (target + 1) * H)).toEqual(ba(s));
    }
  });

  it("reads interleaved rows in few reads", async () => {
    const bound = bind();
    const mixer = deltaOf(bound);
    const readsOf = async (source: WeightSource, from: number, to: number) => {
      bound.checkpoint.reads.length = 0;
      await source.read(from, to);
      return bound.checkpoint.reads.length;
    };
    expect(await readsOf(mixer.gateProj, 0, mixer.gateProj.rows)).toBe(1);
    expect(await readsOf(mixer.inProj, 0, mixer.inProj.rows)).toBe(1);
    expect(await readsOf(mixer.inProj, 0, config.delta.keyHeads * config.delta.keyDim)).toBe(config.delta.keyHeads);
  });

  it("puts separate experts in the order of stacked ones", async () => {
    const { experts: E, expertSize: I, hiddenSize: H } = config;
    const values = new Map<string, Float32Array>();
    const gateUp = new Float32Array(E * 2 * I * H);
    const down = new Float32Array(E * H * I);
    for (let e = 0; e < E; e++) {
      const part = (name: string) => madeUp(`model.layers.0.mlp.experts.${e}.${name}_proj.weight`, I * H);
      gateUp.set(part("gate"), 2 * e * I * H);
      gateUp.set(part("up"), (2 * e + 1) * I * H);
      down.set(part("down"), e * H * I);
    }
    values.set("model.layers.0.mlp.experts.gate_up_proj", gateUp);
    values.set("model.layers.0.mlp.experts.down_proj", down);
    const single = moeOf(bind(fused)).experts;
    const stacked = moeOf(bind(split, { values })).experts;
    expect(await read(single.gateUp)).toEqual(await read(stacked.gateUp));
    expect(await read(single.down)).toEqual(await read(stacked.down));
  });

  it.each(["f32", "f16", "bf16", "q8", "q4"] as const)("moves %s rows unchanged, in any piece", async (format) => {
    const bound = bind(fused, { format: (name: string) => (name.includes("_proj") ? format : "f32") });
    const stored = (part: string) => {
      const name = `model.layers.0.mlp.shared_expert.${part}_proj.weight`;
      const values = madeUp(name, config.sharedExpertSize * config.hiddenSize);
      return decodeRows(encodeRows(values, config.hiddenSize, format, name));
    };
    expect(await read(moeOf(bound).sharedGateUp)).toEqual(Float32Array.from([...stored("gate"), ...stored("up")]));
    for (const source of [deltaOf(bound).inProj, deltaOf(bound).gateProj, moeOf(bound).experts.gateUp]) {
      expect(source.format).toBe(format);
      const whole = await read(source);
      for (const [from, to] of [
        [0, 1],
        [1, 4],
        [3, source.rows - 1],
        [source.rows - 1, source.rows],
      ]) {
        expect(await read(source, from, to)).toEqual(whole.slice(from * source.columns, to * source.columns));
      }
    }
  });

  it("decodes what differs in format", async () => {
    const bound = bind(split, { format: (name: string) => (name.includes("in_proj_a") ? "bf16" : "f32") });
    expect(deltaOf(bound).gateProj).toMatchObject({
      format: "f32",
      role: "sensitive",
      rows: 2 * config.delta.valueHeads,
    });
    const b = madeUp("model.layers.0.linear_attn.in_proj_b.weight", config.delta.valueHeads * config.hiddenSize);
    expect((await read(deltaOf(bound).gateProj)).slice(0, b.length)).toEqual(b);
  });

  it("turns stored numbers into the ones the formulas use", async () => {
    const bound = bind(fused, { format: () => "bf16" });
    const exact = bind(fused);
    const stored = (name: string, size: number) => madeUp(`model.layers.0.${name}`, size);
    const mapped = (values: Float32Array, f: (x: number) => number) => values.map(f);
    const heads = config.delta.valueHeads;
    expect(await read(exact.weights.layers[0].inputNorm.weight)).toEqual(
      mapped(stored("input_layernorm.weight", config.hiddenSize), (w) => 1 + w),
    );
    expect(await read(deltaOf(exact).delta.negA)).toEqual(
      mapped(stored("linear_attn.A_log", heads), (a) => -Math.exp(a)),
    );
    expect(await read(deltaOf(exact).delta.dtBias)).toEqual(stored("linear_attn.dt_bias", heads));
    expect(await read(deltaOf(exact).outNorm.weight)).toEqual(stored("linear_attn.norm.weight", config.delta.valueDim));
    expect(deltaOf(bound).conv).toMatchObject({ format: "f32", role: "vector", columns: 4 });
  });

  it("finds the text model of a multimodal checkpoint and leaves the rest alone", () => {
    const shapes = tensorShapes(config, { projections: "split", experts: "stacked", prefix: "model.language_model." });
    shapes.set("model.visual.blocks.0.attn.qkv.weight", [4, 4]);
    shapes.set("mtp.layers.0.mlp.gate.weight", [4, 4]);
    const { weights } = bind(shapes);
    expect(weights.embedding.label).toBe("model.language_model.embed_tokens.weight");
  });

  it("uses the embedding as the head where there is no other", () => {
    const shapes = new Map(fused);
    expect(bind(shapes).weights.head.role).toBe("head");
    shapes.delete("lm_head.weight");
    const { weights } = bind(shapes);
    expect(weights.head).toBe(weights.embedding);
  });

  it.each([
    [
      "is missing",
      (shapes: Map<string, readonly number[]>) => shapes.delete("model.layers.1.mlp.gate.weight"),
      /layers\.1\.mlp\.gate\.weight \[8,64\] is missing/,
    ],
    [
      "has another shape",
      (shapes: Map<string, readonly number[]>) => shapes.set("model.norm.weight", [65]),
      /model\.norm\.weight is \[65\].*\[64\]/,
    ],
    [
      "is of no known use",
      (shapes: Map<string, readonly number[]>) => shapes.set("model.layers.1.self_attn.q_proj.bias", [8]),
      /q_proj\.bias/,
    ],
  ])("refuses a checkpoint in which a tensor %s", (_, change, message) => {
    const shapes = new Map(fused);
    change(shapes);
    expect(() => bind(shapes)).toThrow(CheckpointError);
    expect(() => bind(shapes)).toThrow(message);
  });
});

describe("mapWeights", () => {
  it("loads each leaf once, in order", async () => {
    const shapes = new Map(fused);
    shapes.delete("lm_head.weight");
    const { weights } = bind(shapes);
    const loaded: string[] = [];
    const load = async (leaf: WeightSource) => {
      loaded.push(leaf.label);
      return { rows: leaf.rows, columns: leaf.columns };
    };
    const mapped = await mapWeights(weights, load);
    expect(loaded).toEqual(weightLeaves(weights).map((leaf) => leaf.label));
    expect(new Set(loaded).size).toBe(loaded.length);
    expect(mapped.head).toBe(mapped.embedding);
  });
});

describe("countParameters", () => {
  const rope_parameters = { rope_theta: 1e7 };

  it.each([
    ["Qwen3-Next-80B-A3B", { model_type: "qwen3_next", rope_parameters }, 79_674_391_296, 3_563_764_480],
    ["Qwen3.5-35B-A3B", { model_type: "qwen3_5_moe_text", rope_parameters }, 34_660_610_688, 2_946_429_568],
    [
      "Qwen3.5-0.8B",
      {
        ...{ model_type: "qwen3_5_text", rope_parameters, tie_word_embeddings: true, hidden_size: 1024 },
        ...{ num_hidden_layers: 24, num_attention_heads: 8, num_key_value_heads: 2, linear_num_value_heads: 16 },
        intermediate_size: 3584,
      },
      752_393_024,
      752_393_024,
    ],
  ])("reproduces what is published of %s", (_, json, total, active) => {
    const model = parseConfig(json);
    const checkpoint: MemoryCheckpoint = memoryCheckpoint(
      json,
      tensorShapes(model, { projections: "split", experts: "stacked" }),
    );
    const counted = countParameters(bindWeights(model, checkpoint));
    expect(counted.total).toBe(total);
    expect(counted.active).toBe(active);
  });
});
