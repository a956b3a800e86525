import type { ModelConfig } from "./config.ts";

/** A checkpoint's tensors by name. */
export type TensorShapes = Map<string, readonly number[]>;

/** Names and shapes of a text model as Qwen3.5 (`split`) or Qwen3-Next (`fused`) stores it. */
export function tensorShapes(
  config: ModelConfig,
  style: { readonly projections: "split" | "fused"; readonly experts: "single" | "stacked"; readonly prefix?: string },
): TensorShapes {
  const prefix = style.prefix ?? "model.";
  const { vocabularySize: V, hiddenSize: H, delta, attention, experts: E, expertSize: I, sharedExpertSize: S } = config;
  const [Kd, Vd] = [delta.keyHeads * delta.keyDim, delta.valueHeads * delta.valueDim];
  const shapes: TensorShapes = new Map([
    [`${prefix}embed_tokens.weight`, [V, H]],
    [`${prefix}norm.weight`, [H]],
  ]);
  if (!config.tiedEmbeddings) shapes.set("lm_head.weight", [V, H]);
  config.layers.forEach((layer, i) => {
    const add = (name: string, ...shape: number[]) => shapes.set(`${prefix}layers.${i}.${name}`, shape);
    const swiGlu = (name: string, width: number) => {
      add(`${name}gate_proj.weight`, width, H);
      add(`${name}up_proj.weight`, width, H);
      add(`${name}down_proj.weight`, H, width);
    };
    add("input_layernorm.weight", H);
    add("post_attention_layernorm.weight", H);
    if (layer.mixer === "delta") {
      if (style.projections === "fused") {
        add("linear_attn.in_proj_qkvz.weight", 2 * Kd + 2 * Vd, H);
        add("linear_attn.in_proj_ba.weight", 2 * delta.valueHeads, H);
      } else {
        add("linear_attn.in_proj_qkv.weight", 2 * Kd + Vd, H);
        add("linear_attn.in_proj_z.weight", Vd, H);
        add("linear_attn.in_proj_b.weight", delta.valueHeads, H);
        add("linear_attn.in_proj_a.weight", delta.valueHeads, H);
      }
      add("linear_attn.conv1d.weight", 2 * Kd + Vd, 1, delta.convTaps);
      add("linear_attn.A_log", delta.valueHeads);
      add("linear_attn.dt_bias", delta.valueHeads);
      add("linear_attn.norm.weight", delta.valueDim);
      add("linear_attn.out_proj.weight", H, Vd);
    } else {
      const { queryHeads, keyValueHeads, headDim } = attention;
      add("self_attn.q_proj.weight", 2 * queryHeads * headDim, H);
      add("self_attn.k_proj.weight", keyValueHeads * headDim, H);
      add("self_attn.v_proj.weight", keyValueHeads * headDim, H);
      add("self_attn.o_proj.weight", H, queryHeads * headDim);
      add("self_attn.q_norm.weight", headDim);
      add("self_attn.k_norm.weight", headDim);
    }
    if (layer.feedForward === "dense") {
      swiGlu("mlp.", config.denseSize);
      return;
    }
    add("mlp.gate.weight", E, H);
    add("mlp.shared_expert_gate.weight", 1, H);
    swiGlu("mlp.shared_expert.", S);
    if (style.experts === "single") {
      for (let e = 0; e < E; e++) swiGlu(`mlp.experts.${e}.`, I);
    } else {
      add("mlp.experts.gate_up_proj", E, 2 * I, H);
      add("mlp.experts.down_proj", E, H, I);
    }
  });
  return shapes;
}
