import { UnsupportedModelError } from "../../errors.ts";
import type { AttentionShape, DeltaShape } from "../../ops/ops.ts";
import { field, type Json, wholeNumber } from "./config-fields.ts";
import { type RopeConfig, ropeConfig } from "./rope-config.ts";

/** A model of the Qwen3-Next family, with every default and every older spelling of config.json resolved. */
export interface ModelConfig {
  readonly modelType: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly maxPositions: number;
  readonly normEps: number;
  readonly layers: readonly LayerConfig[];
  readonly delta: DeltaShape;
  readonly attention: AttentionShape;
  readonly rope: RopeConfig;
  /** Inner width of a dense feed-forward layer. */
  readonly denseSize: number;
  /** Routed experts of a sparse layer, and how many of them a token takes. */
  readonly experts: number;
  readonly topK: number;
  readonly expertSize: number;
  readonly sharedExpertSize: number;
  /** What the configuration says; a checkpoint without `lm_head.weight` is tied in any case. */
  readonly tiedEmbeddings: boolean;
}

export interface LayerConfig {
  readonly mixer: "delta" | "attention";
  readonly feedForward: "moe" | "dense";
}

/** Reads a config.json. Fails with `UnsupportedModelError` where the model is not one that Sluice computes correctly. */
export function parseConfig(json: Json): ModelConfig {
  const text = (json.text_config ?? json) as Json;
  const modelType = String(text.model_type ?? json.model_type ?? "");
  const defaults = DEFAULTS[modelType];
  if (!defaults) throw unknownFamily(String(json.model_type ?? modelType), json.architectures);
  const get = (name: string) => text[name] ?? defaults[name];
  const count = (name: string) => wholeNumber(name, get(name));

  refuseVariants(text);

  const experts = wholeNumber("num_experts", get("num_experts") ?? 0, 0);
  const headDim = count("head_dim");
  const rope = ropeConfig(text, headDim);
  const config: ModelConfig = {
    modelType,
    vocabularySize: count("vocab_size"),
    hiddenSize: count("hidden_size"),
    maxPositions: Math.max(count("max_position_embeddings"), stretchedPositions(rope)),
    normEps: field("rms_norm_eps", get("rms_norm_eps"), (value) => value > 0 && value < 1, "a small positive number"),
    layers: layerConfigs(text, count("num_hidden_layers"), experts),
    delta: {
      keyHeads: count("linear_num_key_heads"),
      valueHeads: count("linear_num_value_heads"),
      keyDim: count("linear_key_head_dim"),
      valueDim: count("linear_value_head_dim"),
      convTaps: count("linear_conv_kernel_dim"),
    },
    attention: {
      queryHeads: count("num_attention_heads"),
      keyValueHeads: count("num_key_value_heads"),
      headDim,
      rotaryDim: rope.rotaryDim,
    },
    rope,
    denseSize: count("intermediate_size"),
    experts,
    topK: count("num_experts_per_tok"),
    expertSize: count("moe_intermediate_size"),
    sharedExpertSize: count("shared_expert_intermediate_size"),
    // In a multimodal wrapper the inner value may contradict the outer one, which is the one that counts.
    tiedEmbeddings: (json.tie_word_embeddings ?? text.tie_word_embeddings ?? false) === true,
  };
  checkSizes(config);
  return config;
}

/** How far YaRN stretches the context. */
const stretchedPositions = ({ yarn }: RopeConfig): number =>
  yarn ? Math.floor(yarn.factor * yarn.originalPositions) : 0;

const COMMON: Json = {
  head_dim: 256,
  num_attention_heads: 16,
  num_key_value_heads: 2,
  linear_conv_kernel_dim: 4,
  linear_key_head_dim: 128,
  linear_value_head_dim: 128,
  linear_num_key_heads: 16,
  linear_num_value_heads: 32,
  moe_intermediate_size: 512,
  shared_expert_intermediate_size: 512,
  max_position_embeddings: 32768,
  rms_norm_eps: 1e-6,
};

const NEXT: Json = {
  ...COMMON,
  vocab_size: 151936,
  hidden_size: 2048,
  num_hidden_layers: 48,
  intermediate_size: 5632,
  num_experts: 512,
  num_experts_per_tok: 10,
};

const MOE: Json = {
  ...COMMON,
  vocab_size: 248320,
  hidden_size: 2048,
  num_hidden_layers: 40,
  intermediate_size: 12288,
  num_experts: 256,
  num_experts_per_tok: 8,
};

const DENSE: Json = {
  ...COMMON,
  vocab_size: 248320,
  hidden_size: 4096,
  num_hidden_layers: 32,
  num_key_value_heads: 4,
  intermediate_size: 12288,
  num_experts: 0,
  num_experts_per_tok: 1,
};

/** What transformers assumes for a missing key, per `model_type` of the text model. */
const DEFAULTS: Readonly<Record<string, Json | undefined>> = {
  qwen3_next: NEXT,
  qwen3_5_moe: MOE,
  qwen3_5_moe_text: MOE,
  qwen3_5: DENSE,
  qwen3_5_text: DENSE,
};

function unknownFamily(modelType: string, architectures: unknown): UnsupportedModelError {
  const name = modelType || (Array.isArray(architectures) && architectures[0]) || "a model without model_type";
  const near = modelType.startsWith("qwen4")
    ? " Despite its name it is built differently: hyper-connections, per-layer embeddings, an attention indexer."
    : "";
  return new UnsupportedModelError(
    `Sluice does not run ${name}.${near} ` +
      "It runs the Qwen3-Next family: model_type qwen3_next, qwen3_5, qwen3_5_text, qwen3_5_moe or qwen3_5_moe_text.",
  );
}

/** Options that change the formulas; no published model of the family sets them. */
function refuseVariants(text: Json): void {
  const refuse = (name: string) => {
    throw new UnsupportedModelError(
      `config.json sets ${name} to ${JSON.stringify(text[name])}, which no published model of the family does and Sluice does not compute.`,
    );
  };
  if (text.attention_bias === true) refuse("attention_bias");
  if (text.attn_output_gate === false) refuse("attn_output_gate");
  if (text.norm_topk_prob === false) refuse("norm_topk_prob");
  if (!["silu", "swish"].includes(String(text.hidden_act ?? "silu"))) refuse("hidden_act");
  if (!["silu", "swish"].includes(String(text.output_gate_type ?? "silu"))) refuse("output_gate_type");
}

function layerConfigs(text: Json, layers: number, experts: number): LayerConfig[] {
  const interval = wholeNumber("full_attention_interval", text.full_attention_interval ?? 4);
  const types = text.layer_types as readonly string[] | undefined | null;
  // Only qwen3_next mixes dense and sparse layers; later files may carry these keys, but nothing reads them.
  const mixed = text.model_type === "qwen3_next";
  const denseLayers = mixed ? ((text.mlp_only_layers ?? []) as readonly number[]) : [];
  const sparseStep = mixed ? wholeNumber("decoder_sparse_step", text.decoder_sparse_step ?? 1) : 1;
  if (types && types.length !== layers) {
    throw new UnsupportedModelError(`layer_types names ${types.length} layers, num_hidden_layers ${layers}.`);
  }
  return Array.from({ length: layers }, (_, i) => ({
    mixer: mixerOf(types?.[i] ?? ((i + 1) % interval === 0 ? "full_attention" : "linear_attention")),
    feedForward: experts > 0 && !denseLayers.includes(i) && (i + 1) % sparseStep === 0 ? "moe" : "dense",
  }));
}

function mixerOf(type: string): LayerConfig["mixer"] {
  if (type === "linear_attention") return "delta";
  if (type === "full_attention") return "attention";
  throw new UnsupportedModelError(`layer_types holds ${type}; Sluice knows linear_attention and full_attention.`);
}

function checkSizes({ delta, attention, experts, topK }: ModelConfig): void {
  const multiple = (a: string, whole: number, b: string, part: number) => {
    if (whole % part !== 0) {
      throw new UnsupportedModelError(`config.json: ${a} (${whole}) is not a multiple of ${b} (${part}).`);
    }
  };
  multiple("linear_num_value_heads", delta.valueHeads, "linear_num_key_heads", delta.keyHeads);
  multiple("num_attention_heads", attention.queryHeads, "num_key_value_heads", attention.keyValueHeads);
  if (experts > 0 && topK > experts) {
    throw new UnsupportedModelError(`config.json: num_experts_per_tok (${topK}) exceeds num_experts (${experts}).`);
  }
}
