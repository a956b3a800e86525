import type { CheckpointTensor } from "../checkpoint.ts";
import { gatherRows, mapTensor, reorderColumns, reorderRows } from "./reshape.ts";

type Tensors = ReadonlyMap<string, CheckpointTensor>;

/** What has to be known of a model to undo its file's conventions. */
export interface TensorLayout {
  /** Blocks from here on predict further tokens. */
  readonly trunkLayers: number;
  readonly keyHeads: number;
  readonly valueHeads: number;
  readonly keyDim: number;
  readonly valueDim: number;
  /** The value heads of one key head lie a whole round of key heads apart, not side by side. */
  readonly isTiled: boolean;
}

/**
 * Hugging Face's tensors, made of those of a GGUF: other names, other conventions undone. Reads nothing yet. A tensor of
 * a block that is not known keeps its name, so that whoever binds the layer can refuse it.
 */
export function canonicalTensors(stored: Tensors, layout: TensorLayout): Map<string, CheckpointTensor> {
  const tensors = new Map<string, CheckpointTensor>();
  const add = (name: string, tensor: CheckpointTensor) => tensors.set(name, { ...tensor, name });
  const blocks = new Map<number, Map<string, CheckpointTensor>>();
  for (const [name, tensor] of stored) {
    const block = /^blk\.(\d+)\.(.+)$/.exec(name);
    if (!block) {
      const [target, change] = MODEL[name] ?? [name];
      add(target, change?.(tensor, layout) ?? tensor);
      continue;
    }
    const index = Number(block[1]);
    const tensorsOfBlock = blocks.get(index) ?? new Map();
    blocks.set(index, tensorsOfBlock.set(block[2], tensor));
  }
  for (const [index, block] of blocks) {
    const ahead = index - layout.trunkLayers;
    const prefix = ahead < 0 ? `model.layers.${index}.` : `mtp.layers.${ahead}.`;
    splitGates(block, layout);
    stackExperts(block);
    for (const [name, tensor] of block) {
      const [target, change] = BLOCK[name] ?? [name];
      add(target.startsWith("mtp.") ? target : prefix + target, change?.(tensor, layout) ?? tensor);
    }
  }
  return tensors;
}

type Change = (tensor: CheckpointTensor, layout: TensorLayout) => CheckpointTensor;
type Names = Readonly<Record<string, readonly [name: string, change?: Change]>>;

/** Files store the factor itself, Hugging Face how far it is from 1. */
const norm: Change = (tensor) => mapTensor(tensor, (factor) => factor - 1);

/** Where value heads are tiled, head h of Hugging Face lies at (h mod r) · keyHeads + ⌊h / r⌋, r heads to a key head. */
function headOrder({ keyHeads, valueHeads, isTiled }: TensorLayout): number[] | undefined {
  const heads = valueHeads / keyHeads;
  if (!isTiled || heads === 1) return undefined;
  return Array.from({ length: valueHeads }, (_, h) => (h % heads) * keyHeads + Math.floor(h / heads));
}

/** Rows q | k | v, of which v goes by value heads. */
const queriesKeysValues: Change = (tensor, layout) => {
  const order = headOrder(layout);
  return order ? reorderRows(tensor, 2 * layout.keyHeads * layout.keyDim, layout.valueDim, order) : tensor;
};

const rowsByHead =
  (rowsOfHead: (layout: TensorLayout) => number): Change =>
  (tensor, layout) => {
    const order = headOrder(layout);
    return order ? reorderRows(tensor, 0, rowsOfHead(layout), order) : tensor;
  };

const columnsByHead =
  (columnsOfHead: (layout: TensorLayout) => number): Change =>
  (tensor, layout) => {
    const order = headOrder(layout);
    return order ? reorderColumns(tensor, columnsOfHead(layout), order) : tensor;
  };

const perHead = columnsByHead(() => 1);

/** Files store −exp(A_log). */
const logDecay: Change = (tensor, layout) =>
  perHead(
    mapTensor(tensor, (negA) => Math.log(-negA)),
    layout,
  );

const asRow: Change = (tensor) => ({ ...tensor, shape: [1, tensor.shape.at(-1)!] });

const MODEL: Names = {
  "token_embd.weight": ["model.embed_tokens.weight"],
  "output_norm.weight": ["model.norm.weight", norm],
  "output.weight": ["lm_head.weight"],
};

const BLOCK: Names = {
  "attn_norm.weight": ["input_layernorm.weight", norm],
  "post_attention_norm.weight": ["post_attention_layernorm.weight", norm],

  "attn_q.weight": ["self_attn.q_proj.weight"],
  "attn_k.weight": ["self_attn.k_proj.weight"],
  "attn_v.weight": ["self_attn.v_proj.weight"],
  "attn_output.weight": ["self_attn.o_proj.weight"],
  "attn_q_norm.weight": ["self_attn.q_norm.weight", norm],
  "attn_k_norm.weight": ["self_attn.k_norm.weight", norm],

  // The first files of Qwen3-Next kept its interleaved projection whole.
  "ssm_in.weight": ["linear_attn.in_proj_qkvz.weight"],
  "ssm_ba.weight": ["linear_attn.in_proj_ba.weight"],
  "attn_qkv.weight": ["linear_attn.in_proj_qkv.weight", queriesKeysValues],
  "attn_gate.weight": ["linear_attn.in_proj_z.weight", rowsByHead(({ valueDim }) => valueDim)],
  "ssm_beta.weight": ["linear_attn.in_proj_b.weight", rowsByHead(() => 1)],
  "ssm_alpha.weight": ["linear_attn.in_proj_a.weight", rowsByHead(() => 1)],
  "ssm_conv1d.weight": ["linear_attn.conv1d.weight", queriesKeysValues],
  "ssm_dt.bias": ["linear_attn.dt_bias", perHead],
  ssm_dt: ["linear_attn.dt_bias", perHead],
  ssm_a: ["linear_attn.A_log", logDecay],
  "ssm_norm.weight": ["linear_attn.norm.weight"],
  "ssm_out.weight": ["linear_attn.out_proj.weight", columnsByHead(({ valueDim }) => valueDim)],

  "ffn_gate.weight": ["mlp.gate_proj.weight"],
  "ffn_up.weight": ["mlp.up_proj.weight"],
  "ffn_down.weight": ["mlp.down_proj.weight"],
  "ffn_gate_inp.weight": ["mlp.gate.weight"],
  "ffn_gate_up_exps.weight": ["mlp.experts.gate_up_proj"],
  "ffn_down_exps.weight": ["mlp.experts.down_proj"],
  "ffn_gate_inp_shexp.weight": ["mlp.shared_expert_gate.weight", asRow],
  "ffn_gate_shexp.weight": ["mlp.shared_expert.gate_proj.weight"],
  "ffn_up_shexp.weight": ["mlp.shared_expert.up_proj.weight"],
  "ffn_down_shexp.weight": ["mlp.shared_expert.down_proj.weight"],

  "nextn.eh_proj.weight": ["mtp.fc.weight"],
  "nextn.enorm.weight": ["mtp.pre_fc_norm_embedding.weight", norm],
  "nextn.hnorm.weight": ["mtp.pre_fc_norm_hidden.weight", norm],
  "nextn.shared_head_norm.weight": ["mtp.norm.weight", norm],
  "nextn.embed_tokens.weight": ["mtp.embed_tokens.weight"],
  "nextn.shared_head_head.weight": ["mtp.lm_head.weight"],
};

/** Beside a projection that is split, the gates are, too: `ssm_ba` goes by key heads, b and then a of their value heads. */
function splitGates(block: Map<string, CheckpointTensor>, { keyHeads, valueHeads }: TensorLayout): void {
  const tensor = block.get("ssm_ba.weight");
  if (!tensor || !block.has("attn_qkv.weight")) return;
  const count = valueHeads / keyHeads;
  const half = (first: number) => {
    const runs = Array.from({ length: keyHeads }, (_, j) => ({ tensor, from: (2 * j + first) * count, count }));
    return gatherRows([valueHeads, tensor.shape.at(-1)!], runs);
  };
  block.delete("ssm_ba.weight");
  block.set("ssm_beta.weight", half(0)).set("ssm_alpha.weight", half(1));
}

/** An expert's gate rows, then its up rows. */
function stackExperts(block: Map<string, CheckpointTensor>): void {
  const gate = block.get("ffn_gate_exps.weight");
  const up = block.get("ffn_up_exps.weight");
  if (!gate || !up || gate.shape.join() !== up.shape.join() || gate.shape.length !== 3) return;
  const [experts, count, columns] = gate.shape;
  const runs = Array.from({ length: experts }, (_, e) =>
    [gate, up].map((tensor) => ({ tensor, from: e * count, count })),
  );
  block.delete("ffn_gate_exps.weight");
  block.delete("ffn_up_exps.weight");
  block.set("ffn_gate_up_exps.weight", gatherRows([experts, 2 * count, columns], runs.flat()));
}
