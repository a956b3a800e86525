import { CheckpointError } from "../../errors.ts";
import type { CheckpointTensor } from "../checkpoint.ts";
import type { TensorLayout } from "./canonical-tensors.ts";
import type { Metadata } from "./metadata.ts";

type Json = Record<string, unknown>;
type Tensors = ReadonlyMap<string, CheckpointTensor>;

/** What config.json would say of a model; `stored` are its tensors by their names in the file. */
export function ggufConfig(label: string, metadata: Metadata, stored: Tensors): Json {
  const embedding = stored.get("token_embd.weight");
  if (!embedding) throw new CheckpointError(label, "token_embd.weight is missing: the file holds no whole model.");
  const { trunkLayers, keyHeads, valueHeads, keyDim, valueDim } = tensorLayout(metadata, stored);
  const headDim = metadata.required("attention.key_length");
  return {
    model_type: metadata.modelType,
    vocab_size: embedding.shape[0],
    hidden_size: metadata.required("embedding_length"),
    num_hidden_layers: trunkLayers,
    // What is there says it best: the key of the interval is optional.
    layer_types: Array.from({ length: trunkLayers }, (_, i) =>
      stored.has(`blk.${i}.attn_q.weight`) ? "full_attention" : "linear_attention",
    ),
    max_position_embeddings: metadata.required("context_length"),
    rms_norm_eps: metadata.required("attention.layer_norm_rms_epsilon"),
    num_attention_heads: metadata.required("attention.head_count"),
    num_key_value_heads: metadata.required("attention.head_count_kv"),
    head_dim: headDim,
    rope_parameters: ropeParameters(metadata, headDim),
    linear_conv_kernel_dim: metadata.required("ssm.conv_kernel"),
    linear_key_head_dim: keyDim,
    linear_value_head_dim: valueDim,
    linear_num_key_heads: keyHeads,
    linear_num_value_heads: valueHeads,
    tie_word_embeddings: !stored.has("output.weight"),
    ...given({
      eos_token_id: metadata.number("tokenizer.ggml.eos_token_id"),
      intermediate_size: metadata.ofModel("feed_forward_length"),
      num_experts: metadata.ofModel("expert_count"),
      num_experts_per_tok: metadata.ofModel("expert_used_count"),
      moe_intermediate_size: metadata.ofModel("expert_feed_forward_length"),
      shared_expert_intermediate_size: metadata.ofModel("expert_shared_feed_forward_length"),
    }),
  };
}

export function tensorLayout(metadata: Metadata, stored: Tensors): TensorLayout {
  const blocks = metadata.required("block_count");
  const valueHeads = metadata.required("ssm.time_step_rank");
  const keyHeads = metadata.required("ssm.group_count");
  const ahead = [...stored.keys()].filter((name) => /^blk\.\d+\.nextn\.eh_proj\.weight$/.test(name)).length;
  return {
    trunkLayers: blocks - (metadata.ofModel("nextn_predict_layers") ?? ahead),
    keyHeads,
    valueHeads,
    keyDim: metadata.required("ssm.state_size"),
    valueDim: metadata.required("ssm.inner_size") / valueHeads,
    // Converters say it of files where it may be doubted.
    isTiled:
      (metadata.get(`${metadata.architecture}.ssm.v_head_reordered`) ?? metadata.modelType !== "qwen3_next") === true,
  };
}

function ropeParameters(metadata: Metadata, headDim: number): Json {
  const type = metadata.text(`${metadata.architecture}.rope.scaling.type`) ?? "none";
  const rotation = {
    rope_theta: metadata.required("rope.freq_base"),
    partial_rotary_factor: metadata.required("rope.dimension_count") / headDim,
    rope_type: type === "none" ? "default" : type,
  };
  if (type !== "yarn") return rotation;
  const factor = metadata.required("rope.scaling.factor");
  return {
    ...rotation,
    factor,
    ...given({
      original_max_position_embeddings: metadata.ofModel("rope.scaling.original_context_length"),
      // Here a factor on top of YaRN's own magnitude; in config.json it would replace it.
      attention_factor: scaled(metadata.ofModel("rope.scaling.attn_factor"), 1 + 0.1 * Math.log(factor)),
      beta_fast: metadata.ofModel("rope.scaling.yarn_beta_fast"),
      beta_slow: metadata.ofModel("rope.scaling.yarn_beta_slow"),
    }),
  };
}

const scaled = (value: number | undefined, by: number): number | undefined => value && value * by;

/** What generation_config.json would say: ids that end a reply, and sampling where the file recommends it. */
export function ggufGenerationConfig(metadata: Metadata): Json {
  const ids = ["eos", "eot"].map((kind) => metadata.number(`tokenizer.ggml.${kind}_token_id`));
  const sampling = (name: string) => metadata.number(`general.sampling.${name}`);
  return given({
    eos_token_id: [...new Set(ids.filter((id) => id !== undefined))],
    temperature: sampling("temp"),
    top_k: sampling("top_k"),
    top_p: sampling("top_p"),
    min_p: sampling("min_p"),
    repetition_penalty: sampling("penalty_repeat"),
  });
}

const given = (json: Json): Json => Object.fromEntries(Object.entries(json).filter(([, value]) => value !== undefined));
