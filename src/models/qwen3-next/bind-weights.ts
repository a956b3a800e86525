import type { Norm } from "../../ops/ops.ts";
import type { Checkpoint } from "../../weights/checkpoint.ts";
import type { WeightSource } from "../../weights/format.ts";
import { mapSource, type RowRun } from "../../weights/row-source.ts";
import { bindCanonical } from "./bind-canonical.ts";
import type { LayerConfig, ModelConfig } from "./config.ts";
import { NamedTensors } from "./named-tensors.ts";
import { shapeCheckpoint } from "./shape-checkpoint.ts";
import type {
  AttentionMixerWeights,
  DeltaMixerWeights,
  DenseWeights,
  LayerWeights,
  ModelWeights,
  MoeWeights,
} from "./weights.ts";

/**
 * Finds every weight in a checkpoint and describes how to read it in canonical form; reads nothing yet.
 * Fails with `CheckpointError` where a tensor is missing, misshapen, or unknown to the formulas.
 */
export function bindWeights(config: ModelConfig, checkpoint: Checkpoint): ModelWeights<WeightSource> {
  if (!checkpoint.isCanonical) return bindNames(config, checkpoint);
  const { config: json, label } = checkpoint;
  return bindCanonical(bindNames(config, shapeCheckpoint(config, json, label)), checkpoint);
}

/** A checkpoint with Hugging Face's names. */
function bindNames(config: ModelConfig, checkpoint: Checkpoint): ModelWeights<WeightSource> {
  const top = new NamedTensors(checkpoint);
  const tensors = top.under(trunkPrefix(checkpoint));
  const { vocabularySize: V, hiddenSize: H } = config;
  const embedding = tensors.matrix("embed_tokens.weight", [V, H], "embedding");
  const tied = config.tiedEmbeddings || !checkpoint.tensors.has("lm_head.weight");
  const weights: ModelWeights<WeightSource> = {
    embedding,
    layers: config.layers.map((layer, i) => bindLayer(config, layer, tensors.under(`layers.${i}.`))),
    finalNorm: zeroCentredNorm(config, tensors, "norm.weight", H),
    head: tied ? embedding : top.matrix("lm_head.weight", [V, H], "head"),
  };
  refuseUnknown(tensors, config.layers.length);
  return weights;
}

/** Text models say `model.`, multimodal wrappers put the text model one level down. */
function trunkPrefix(checkpoint: Checkpoint): string {
  const prefixes = ["model.language_model.", "model."];
  return prefixes.find((prefix) => checkpoint.tensors.has(`${prefix}embed_tokens.weight`)) ?? "model.";
}

/** A tensor of the trunk that no formula asked for (a bias, a further norm) means that the model is another one. */
function refuseUnknown(tensors: NamedTensors, layers: number): void {
  const belongs = (name: string) => {
    const layer = /^layers\.(\d+)\./.exec(name);
    return layer ? Number(layer[1]) < layers && !name.endsWith("rotary_emb.inv_freq") : false;
  };
  const unknown = tensors.unused().filter(belongs);
  if (unknown.length > 0) {
    throw tensors.error(
      `${unknown[0]}${unknown.length > 1 ? ` and ${unknown.length - 1} more tensors` : ""} have no place in this architecture. ` +
        "The files do not belong to config.json, or the model is a variant that Sluice does not know.",
    );
  }
}

function bindLayer(config: ModelConfig, layer: LayerConfig, tensors: NamedTensors): LayerWeights<WeightSource> {
  const H = config.hiddenSize;
  return {
    inputNorm: zeroCentredNorm(config, tensors, "input_layernorm.weight", H),
    mixer:
      layer.mixer === "delta"
        ? bindDelta(config, tensors.under("linear_attn."))
        : bindAttention(config, tensors.under("self_attn.")),
    postMixerNorm: zeroCentredNorm(config, tensors, "post_attention_layernorm.weight", H),
    feedForward:
      layer.feedForward === "moe" ? bindMoe(config, tensors.under("mlp.")) : bindDense(config, tensors.under("mlp.")),
  };
}

function bindDelta(config: ModelConfig, tensors: NamedTensors): DeltaMixerWeights<WeightSource> {
  const H = config.hiddenSize;
  const { keyHeads, valueHeads, keyDim, valueDim, convTaps } = config.delta;
  const keys = keyHeads * keyDim;
  const values = valueHeads * valueDim;
  return {
    kind: "delta",
    ...(tensors.has("in_proj_qkvz.weight") ? fusedProjections(config, tensors) : splitProjections(config, tensors)),
    conv: tensors.matrix("conv1d.weight", [2 * keys + values, 1, convTaps], "vector"),
    delta: {
      shape: config.delta,
      negA: mapSource(tensors.vector("A_log", valueHeads), (logA) => -Math.exp(logA)),
      dtBias: tensors.vector("dt_bias", valueHeads),
    },
    // The one norm of the family that is not zero-centred.
    outNorm: { weight: tensors.vector("norm.weight", valueDim), eps: config.normEps },
    outProj: tensors.matrix("out_proj.weight", [H, values], "matrix"),
  };
}

type DeltaProjections = Pick<DeltaMixerWeights<WeightSource>, "inProj" | "gateProj">;

/** Qwen3.5: q | k | v, z, b and a are tensors, each by ascending head. */
function splitProjections({ hiddenSize: H, delta }: ModelConfig, tensors: NamedTensors): DeltaProjections {
  const values = delta.valueHeads * delta.valueDim;
  const projections: [string, number][] = [
    ["in_proj_qkv.weight", 2 * delta.keyHeads * delta.keyDim + values],
    ["in_proj_z.weight", values],
  ];
  const gates: [string, number][] = [
    ["in_proj_b.weight", delta.valueHeads],
    ["in_proj_a.weight", delta.valueHeads],
  ];
  return {
    inProj: tensors.stack("in_proj_qkvz", H, projections),
    gateProj: tensors.stack("in_proj_ba", H, gates, "sensitive"),
  };
}

/** Qwen3-Next: one block of rows per key head, holding q, k, and the v and z (or the b and a) of its value heads. */
function fusedProjections({ hiddenSize: H, delta }: ModelConfig, tensors: NamedTensors): DeltaProjections {
  const { keyHeads, valueHeads, keyDim, valueDim } = delta;
  const heads = valueHeads / keyHeads;
  const regroup = (name: string, sizes: readonly number[]): RowRun[] => {
    const block = sizes.reduce((sum, size) => sum + size, 0);
    const tensor = tensors.tensor(name, [keyHeads * block, H]);
    let start = 0;
    return sizes.flatMap((count) => {
      const runs = Array.from({ length: keyHeads }, (_, j) => ({ tensor, from: j * block + start, count }));
      start += count;
      return runs;
    });
  };
  const v = heads * valueDim;
  return {
    inProj: tensors.gather("in_proj_qkvz", H, regroup("in_proj_qkvz.weight", [keyDim, keyDim, v, v])),
    gateProj: tensors.gather("in_proj_ba", H, regroup("in_proj_ba.weight", [heads, heads]), "sensitive"),
  };
}

function bindAttention(config: ModelConfig, tensors: NamedTensors): AttentionMixerWeights<WeightSource> {
  const H = config.hiddenSize;
  const { queryHeads, keyValueHeads, headDim } = config.attention;
  return {
    kind: "attention",
    inProj: tensors.stack("qkv_proj", H, [
      ["q_proj.weight", 2 * queryHeads * headDim],
      ["k_proj.weight", keyValueHeads * headDim],
      ["v_proj.weight", keyValueHeads * headDim],
    ]),
    norms: {
      shape: config.attention,
      query: zeroCentredNorm(config, tensors, "q_norm.weight", headDim),
      key: zeroCentredNorm(config, tensors, "k_norm.weight", headDim),
    },
    outProj: tensors.matrix("o_proj.weight", [H, queryHeads * headDim], "matrix"),
  };
}

function bindMoe(config: ModelConfig, tensors: NamedTensors): MoeWeights<WeightSource> {
  const { hiddenSize: H, experts, topK, expertSize: I, sharedExpertSize } = config;
  return {
    kind: "moe",
    router: tensors.matrix("gate.weight", [experts, H], "sensitive"),
    experts: { experts, topK, ...(tensors.has("experts.gate_up_proj") ? fusedExperts() : singleExperts()) },
    sharedGateUp: tensors.stack("shared_expert.gate_up_proj", H, [
      ["shared_expert.gate_proj.weight", sharedExpertSize],
      ["shared_expert.up_proj.weight", sharedExpertSize],
    ]),
    sharedDown: tensors.matrix("shared_expert.down_proj.weight", [H, sharedExpertSize], "matrix"),
    sharedGate: tensors.matrix("shared_expert_gate.weight", [1, H], "sensitive"),
  };

  /** As Qwen3.5 stores them: one tensor for all experts, without the suffix. */
  function fusedExperts() {
    return {
      gateUp: tensors.matrix("experts.gate_up_proj", [experts, 2 * I, H], "matrix"),
      down: tensors.matrix("experts.down_proj", [experts, H, I], "matrix"),
    };
  }

  function singleExperts() {
    const ids = Array.from({ length: experts }, (_, e) => `experts.${e}`);
    const gateUp = ids.flatMap((e): [string, number][] => [
      [`${e}.gate_proj.weight`, I],
      [`${e}.up_proj.weight`, I],
    ]);
    return {
      gateUp: tensors.stack("experts.gate_up_proj", H, gateUp),
      down: tensors.stack(
        "experts.down_proj",
        I,
        ids.map((e): [string, number] => [`${e}.down_proj.weight`, H]),
      ),
    };
  }
}

function bindDense({ hiddenSize: H, denseSize: F }: ModelConfig, tensors: NamedTensors): DenseWeights<WeightSource> {
  return {
    kind: "dense",
    gateUp: tensors.stack("gate_up_proj", H, [
      ["gate_proj.weight", F],
      ["up_proj.weight", F],
    ]),
    down: tensors.matrix("down_proj.weight", [H, F], "matrix"),
  };
}

/** Checkpoints store how far the factor is from 1. */
function zeroCentredNorm(config: ModelConfig, tensors: NamedTensors, name: string, size: number): Norm<WeightSource> {
  return { weight: mapSource(tensors.vector(name, size), (w) => 1 + w), eps: config.normEps };
}
