import { describe, expect, it } from "vitest";
import { UnsupportedModelError } from "../../../src/errors.ts";
import { parseConfig } from "../../../src/models/qwen3-next/config.ts";

const next = { model_type: "qwen3_next", architectures: ["Qwen3NextForCausalLM"], rope_theta: 1e7 };
const rope_parameters = { rope_type: "default", rope_theta: 1e7, partial_rotary_factor: 0.25 };
const moeText = { model_type: "qwen3_5_moe_text", rope_parameters };
const denseText = { model_type: "qwen3_5_text", rope_parameters, num_hidden_layers: 24, hidden_size: 1024 };

describe("parseConfig: file shapes", () => {
  it("fills a flat qwen3_next file with the defaults of the 80B", () => {
    const config = parseConfig(next);
    expect(config).toMatchObject({
      vocabularySize: 151936,
      hiddenSize: 2048,
      normEps: 1e-6,
      delta: { keyHeads: 16, valueHeads: 32, keyDim: 128, valueDim: 128, convTaps: 4 },
      attention: { queryHeads: 16, keyValueHeads: 2, headDim: 256, rotaryDim: 64 },
      rope: { theta: 1e7, rotaryDim: 64, yarn: undefined },
      experts: 512,
      topK: 10,
      expertSize: 512,
      sharedExpertSize: 512,
      tiedEmbeddings: false,
    });
    expect(config.layers.length).toBe(48);
    expect(config.layers.every((layer) => layer.feedForward === "moe")).toBe(true);
    expect(config.layers.flatMap(({ mixer }, i) => (mixer === "attention" ? [i] : []))).toEqual(
      Array.from({ length: 12 }, (_, i) => 4 * i + 3),
    );
  });

  it("looks into the text_config of a multimodal wrapper, and ties by the outer flag", () => {
    const wrapper = {
      model_type: "qwen3_5",
      tie_word_embeddings: true,
      text_config: { ...denseText, tie_word_embeddings: false },
    };
    const config = parseConfig(wrapper);
    expect(config).toMatchObject({ modelType: "qwen3_5_text", hiddenSize: 1024, experts: 0, tiedEmbeddings: true });
    expect(config.layers.every((layer) => layer.feedForward === "dense")).toBe(true);
    expect(config.attention.keyValueHeads).toBe(4);
  });

  it("reads a text-only qwen3_5_moe file", () => {
    expect(parseConfig(moeText)).toMatchObject({ vocabularySize: 248320, experts: 256, topK: 8 });
  });

  it("reads a re-export with flattened rope keys and the outer model_type inside", () => {
    const { rope_parameters: _, ...text } = { ...moeText, model_type: "qwen3_5_moe" };
    const reexport = { model_type: "qwen3_5_moe", text_config: { ...text, rope_theta: 5e6, rope_type: "default" } };
    expect(parseConfig(reexport).rope).toEqual({ theta: 5e6, rotaryDim: 64, yarn: undefined });
  });
});

describe("parseConfig: layers", () => {
  it("believes layer_types rather than the interval", () => {
    const layer_types = ["full_attention", "linear_attention"];
    const config = parseConfig({ ...next, num_hidden_layers: 2, full_attention_interval: 1, layer_types });
    expect(config.layers.map(({ mixer }) => mixer)).toEqual(["attention", "delta"]);
  });

  it("makes some layers of qwen3_next dense, and none of the later models", () => {
    const sizes = { num_hidden_layers: 4, mlp_only_layers: [1], decoder_sparse_step: 2 };
    const kinds = (config: object) => parseConfig({ ...config, ...sizes }).layers.map((layer) => layer.feedForward);
    expect(kinds(next)).toEqual(["dense", "dense", "dense", "moe"]);
    expect(kinds(moeText)).toEqual(["moe", "moe", "moe", "moe"]);
  });
});

describe("parseConfig: rope", () => {
  const rope = (fields: object) => parseConfig({ model_type: "qwen3_next", ...fields }).rope;

  it("takes the old form, with a scaling that wins over newer parameters and inherits the rest", () => {
    const rope_scaling = { type: "yarn", factor: 2, original_max_position_embeddings: 1024 };
    expect(rope({ rope_parameters, rope_scaling })).toEqual({
      theta: 1e7,
      rotaryDim: 64,
      yarn: {
        factor: 2,
        originalPositions: 1024,
        betaFast: 32,
        betaSlow: 1,
        truncate: true,
        magnitude: 0.1 * Math.log(2) + 1,
      },
    });
  });

  it("lets values inside the object win over their siblings", () => {
    expect(rope({ rope_theta: 1, partial_rotary_factor: 1, rope_parameters })).toMatchObject({
      theta: 1e7,
      rotaryDim: 64,
    });
  });

  it("derives a missing factor and a missing original length", () => {
    const yarn = (fields: object) =>
      rope({ max_position_embeddings: 4096, rope_parameters: { rope_theta: 1e7, rope_type: "yarn", ...fields } }).yarn;
    expect(yarn({ original_max_position_embeddings: 1024 })?.factor).toBe(4);
    expect(yarn({ factor: 2 })?.originalPositions).toBe(4096);
    expect(yarn({ factor: 4, attention_factor: 1.5 })?.magnitude).toBe(1.5);
    expect(yarn({ factor: 4, mscale: 2, mscale_all_dim: 1 })?.magnitude).toBeCloseTo(
      (0.2 * Math.log(4) + 1) / (0.1 * Math.log(4) + 1),
    );
  });
});

describe("parseConfig refuses", () => {
  it.each([
    ["another architecture", { model_type: "llama", architectures: ["LlamaForCausalLM"] }, /llama.*qwen3_next/],
    [
      "the next generation",
      { model_type: "qwen4_exp", text_config: { model_type: "qwen4_exp_text" } },
      /qwen4_exp.*differently/,
    ],
    ["a file without model_type", { hidden_size: 8 }, /without model_type/],
    ["a missing rope_theta", { model_type: "qwen3_next" }, /rope_theta/],
    ["a rope of another kind", { ...next, rope_scaling: { type: "longrope" } }, /longrope/],
    ["biases", { ...next, attention_bias: true }, /attention_bias/],
    ["attention without gate", { ...next, attn_output_gate: false }, /attn_output_gate/],
    ["another output gate", { ...next, output_gate_type: "sigmoid" }, /output_gate_type/],
    ["weights of experts that are not renormalised", { ...next, norm_topk_prob: false }, /norm_topk_prob/],
    ["a negative size", { ...next, hidden_size: -1 }, /hidden_size is -1/],
    ["a broken number", { ...next, num_hidden_layers: 1.5 }, /num_hidden_layers is 1.5/],
    ["a number in quotes", { ...next, vocab_size: "512" }, /vocab_size is "512"/],
    ["heads that do not divide", { ...next, linear_num_value_heads: 24 }, /24.*multiple.*16/],
    ["query heads that do not divide", { ...next, num_key_value_heads: 3 }, /16.*multiple.*3/],
    ["more chosen experts than there are", { ...next, num_experts: 4 }, /num_experts_per_tok/],
    [
      "an unknown layer type",
      { ...next, num_hidden_layers: 1, layer_types: ["sliding_attention"] },
      /sliding_attention/,
    ],
    ["too few layer types", { ...next, layer_types: ["full_attention"] }, /names 1 layers/],
  ])("%s", (_, config, message) => {
    expect(() => parseConfig(config as Record<string, unknown>)).toThrow(UnsupportedModelError);
    expect(() => parseConfig(config as Record<string, unknown>)).toThrow(message);
  });
});
