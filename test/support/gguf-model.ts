import { type ModelConfig, parseConfig } from "../../src/models/qwen3-next/config.ts";
import type { Checkpoint } from "../../src/weights/checkpoint.ts";
import { decodeRows } from "../../src/weights/decode.ts";
import { BLOCKS, decodeBlocks, encodeBlocks } from "./gguf-blocks.ts";
import type { GgufField, GgufTensorData } from "./gguf-writer.ts";
import { memoryCheckpoint } from "./memory-checkpoint.ts";

export interface GgufModelOptions {
  /** The type of a matrix, by its name in the file. Default F32. One that does not divide its rows becomes Q8_0, or F32. */
  readonly type?: (name: string) => string;
  /** Qwen3-Next's interleaved projection in one piece, as the first files had it. */
  readonly legacy?: boolean;
}

export interface GgufModel {
  readonly metadata: Record<string, GgufField>;
  readonly tensors: GgufTensorData[];
  /** The same model in Hugging Face's form, with the numbers that the file stands for. */
  readonly expected: Checkpoint;
}

/** Writes a Hugging Face checkpoint as converters to GGUF do: their names, permutations and offsets. */
export async function ggufModel(checkpoint: Checkpoint, options: GgufModelOptions = {}): Promise<GgufModel> {
  const config = parseConfig(checkpoint.config);
  const writer = new TensorWriter(checkpoint, options);
  await writer.read();
  const { metadata, arch } = modelMetadata(config, checkpoint.config);
  const isNext = arch === "qwen3next";
  writer.add("token_embd.weight", rows("model.embed_tokens.weight", config.vocabularySize));
  writer.vector("output_norm.weight", "model.norm.weight", oneMore);
  if (!config.tiedEmbeddings) writer.add("output.weight", rows("lm_head.weight", config.vocabularySize));
  config.layers.forEach((layer, i) => {
    const [hf, gguf] = [`model.layers.${i}.`, `blk.${i}.`];
    writer.vector(`${gguf}attn_norm.weight`, `${hf}input_layernorm.weight`, oneMore);
    writer.vector(`${gguf}post_attention_norm.weight`, `${hf}post_attention_layernorm.weight`, oneMore);
    if (layer.mixer === "attention") addAttention(writer, config, hf, gguf);
    else addDelta(writer, config, hf, gguf, isNext, options.legacy ?? false);
    if (layer.feedForward === "moe") addMoe(writer, config, hf, gguf);
    else addSwiGlu(writer, `${hf}mlp.`, gguf, "", config.denseSize, config.hiddenSize);
  });
  return { metadata, tensors: writer.tensors, expected: writer.expected() };
}

/** Where each row of a tensor in the file comes from: a name of Hugging Face's, and a row there. */
type Rows = readonly (readonly [string, number])[];

const rows = (name: string, count: number, from = 0): Rows =>
  Array.from({ length: count }, (_, i) => [name, from + i] as const);

interface Change {
  readonly forward: (x: number) => number;
  readonly backward: (x: number) => number;
}

const oneMore: Change = { forward: (x) => x + 1, backward: (x) => x - 1 };
const decay: Change = { forward: (x) => -Math.exp(x), backward: (x) => Math.log(-x) };

function addAttention(writer: TensorWriter, { attention, hiddenSize }: ModelConfig, hf: string, gguf: string): void {
  const { queryHeads, keyValueHeads, headDim } = attention;
  writer.add(`${gguf}attn_q.weight`, rows(`${hf}self_attn.q_proj.weight`, 2 * queryHeads * headDim));
  writer.add(`${gguf}attn_k.weight`, rows(`${hf}self_attn.k_proj.weight`, keyValueHeads * headDim));
  writer.add(`${gguf}attn_v.weight`, rows(`${hf}self_attn.v_proj.weight`, keyValueHeads * headDim));
  writer.add(`${gguf}attn_output.weight`, rows(`${hf}self_attn.o_proj.weight`, hiddenSize));
  writer.vector(`${gguf}attn_q_norm.weight`, `${hf}self_attn.q_norm.weight`, oneMore);
  writer.vector(`${gguf}attn_k_norm.weight`, `${hf}self_attn.k_norm.weight`, oneMore);
}

function addDelta(
  writer: TensorWriter,
  { delta, hiddenSize }: ModelConfig,
  model: string,
  gguf: string,
  isNext: boolean,
  legacy: boolean,
): void {
  const { keyHeads, valueHeads, keyDim, valueDim } = delta;
  const hf = `${model}linear_attn.`;
  const keys = keyHeads * keyDim;
  const r = valueHeads / keyHeads;
  // The head of Hugging Face's that lies in each place of the file.
  const heads = Array.from({ length: valueHeads }, (_, s) =>
    isNext ? s : (s % keyHeads) * r + Math.floor(s / keyHeads),
  );
  const byHead = (name: string, size: number, from = 0) => heads.flatMap((h) => rows(name, size, from + h * size));
  if (!isNext) {
    const qkv = `${hf}in_proj_qkv.weight`;
    writer.add(`${gguf}attn_qkv.weight`, [...rows(qkv, 2 * keys), ...byHead(qkv, valueDim, 2 * keys)]);
    writer.add(`${gguf}attn_gate.weight`, byHead(`${hf}in_proj_z.weight`, valueDim));
    writer.add(`${gguf}ssm_beta.weight`, byHead(`${hf}in_proj_b.weight`, 1));
    writer.add(`${gguf}ssm_alpha.weight`, byHead(`${hf}in_proj_a.weight`, 1));
  } else {
    const qkvz = `${hf}in_proj_qkvz.weight`;
    const block = 2 * keyDim + 2 * r * valueDim;
    const segment = (start: number, size: number) =>
      Array.from({ length: keyHeads }, (_, j) => rows(qkvz, size, j * block + start)).flat();
    if (legacy) writer.add(`${gguf}ssm_in.weight`, rows(qkvz, keyHeads * block));
    else {
      const v = r * valueDim;
      const qkv = [...segment(0, keyDim), ...segment(keyDim, keyDim), ...segment(2 * keyDim, v)];
      writer.add(`${gguf}attn_qkv.weight`, qkv);
      writer.add(`${gguf}attn_gate.weight`, segment(2 * keyDim + v, v));
    }
    writer.add(`${gguf}ssm_ba.weight`, rows(`${hf}in_proj_ba.weight`, 2 * valueHeads));
  }
  const conv = `${hf}conv1d.weight`;
  writer.add(`${gguf}ssm_conv1d.weight`, [...rows(conv, 2 * keys), ...byHead(conv, valueDim, 2 * keys)], {
    type: "F32",
  });
  writer.vector(`${gguf}ssm_a`, `${hf}A_log`, decay, heads);
  writer.vector(`${gguf}ssm_dt.bias`, `${hf}dt_bias`, undefined, heads);
  writer.vector(`${gguf}ssm_norm.weight`, `${hf}norm.weight`);
  const columns = heads.flatMap((h) => Array.from({ length: valueDim }, (_, i) => h * valueDim + i));
  writer.add(`${gguf}ssm_out.weight`, rows(`${hf}out_proj.weight`, hiddenSize), { columns });
}

function addMoe(writer: TensorWriter, config: ModelConfig, model: string, gguf: string): void {
  const { experts: E, expertSize: I, hiddenSize: H } = config;
  const hf = `${model}mlp.`;
  writer.add(`${gguf}ffn_gate_inp.weight`, rows(`${hf}gate.weight`, E), { type: "F32" });
  writer.add(`${gguf}ffn_gate_inp_shexp.weight`, rows(`${hf}shared_expert_gate.weight`, 1), {
    type: "F32",
    shape: [H],
  });
  addSwiGlu(writer, `${hf}shared_expert.`, gguf, "_shexp", config.sharedExpertSize, H);
  const perExpert = (of: (e: number) => Rows) => Array.from({ length: E }, (_, e) => of(e)).flat();
  const stacked = writer.has(`${hf}experts.gate_up_proj`);
  const gateUp = (e: number, part: "gate" | "up") =>
    stacked
      ? rows(`${hf}experts.gate_up_proj`, I, (2 * e + (part === "up" ? 1 : 0)) * I)
      : rows(`${hf}experts.${e}.${part}_proj.weight`, I);
  const down = (e: number) =>
    stacked ? rows(`${hf}experts.down_proj`, H, e * H) : rows(`${hf}experts.${e}.down_proj.weight`, H);
  writer.add(
    `${gguf}ffn_gate_exps.weight`,
    perExpert((e) => gateUp(e, "gate")),
    { shape: [E, I, H] },
  );
  writer.add(
    `${gguf}ffn_up_exps.weight`,
    perExpert((e) => gateUp(e, "up")),
    { shape: [E, I, H] },
  );
  writer.add(`${gguf}ffn_down_exps.weight`, perExpert(down), { shape: [E, H, I] });
}

function addSwiGlu(
  writer: TensorWriter,
  hf: string,
  gguf: string,
  suffix: string,
  width: number,
  hidden: number,
): void {
  writer.add(`${gguf}ffn_gate${suffix}.weight`, rows(`${hf}gate_proj.weight`, width));
  writer.add(`${gguf}ffn_up${suffix}.weight`, rows(`${hf}up_proj.weight`, width));
  writer.add(`${gguf}ffn_down${suffix}.weight`, rows(`${hf}down_proj.weight`, hidden));
}

class TensorWriter {
  readonly tensors: GgufTensorData[] = [];
  readonly #checkpoint: Checkpoint;
  readonly #type: (name: string) => string;
  readonly #values = new Map<string, Float32Array>();
  /** The same, as the file says it. */
  readonly #written = new Map<string, Float32Array<ArrayBuffer>>();

  constructor(checkpoint: Checkpoint, { type = () => "F32" }: GgufModelOptions) {
    this.#checkpoint = checkpoint;
    this.#type = type;
  }

  async read(): Promise<void> {
    for (const [name, tensor] of this.#checkpoint.tensors) {
      const count = tensor.shape.slice(0, -1).reduce((a, b) => a * b, 1);
      this.#values.set(name, decodeRows(await tensor.read(0, count)));
    }
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  vector(name: string, hf: string, change?: Change, columns?: readonly number[]): void {
    const [{ length }] = [this.#values.get(hf)!];
    this.add(name, [[hf, 0]], { type: "F32", shape: [length], change, columns });
  }

  add(
    name: string,
    from: Rows,
    options: { type?: string; shape?: readonly number[]; change?: Change; columns?: readonly number[] } = {},
  ): void {
    const { change, columns: order } = options;
    const width = this.#checkpoint.tensors.get(from[0][0])!.shape.at(-1)!;
    const place = (c: number) => order?.[c] ?? c;
    const values = new Float32Array(from.length * width);
    for (const [r, [hf, row]] of from.entries()) {
      const source = this.#values.get(hf)!;
      for (let c = 0; c < width; c++) {
        const value = source[row * width + place(c)];
        values[r * width + c] = change ? change.forward(value) : value;
      }
    }
    const type = options.type ?? dividing(this.#type(name), width);
    const data = type === "F32" ? new Uint8Array(values.buffer) : encodeBlocks(type, values);
    this.tensors.push({ name, shape: options.shape ?? [from.length, width], type, data });
    const stored = type === "F32" ? values : decodeBlocks(type, data);
    for (const [r, [hf, row]] of from.entries()) {
      if (!this.#written.has(hf)) this.#written.set(hf, new Float32Array(this.#values.get(hf)!.length));
      const target = this.#written.get(hf)!;
      for (let c = 0; c < width; c++) {
        const value = stored[r * width + c];
        target[row * width + place(c)] = change ? change.backward(value) : value;
      }
    }
  }

  expected(): Checkpoint {
    const shapes = new Map([...this.#written.keys()].map((hf) => [hf, this.#checkpoint.tensors.get(hf)!.shape]));
    return memoryCheckpoint(this.#checkpoint.config, shapes, { values: this.#written });
  }
}

const dividing = (type: string, columns: number): string =>
  [type, "Q8_0", "F32"].find((name) => columns % BLOCKS[name].elements === 0)!;

function modelMetadata(config: ModelConfig, json: Checkpoint["config"]) {
  const arch = { qwen3_next: "qwen3next", qwen3_5_text: "qwen35", qwen3_5_moe_text: "qwen35moe" }[config.modelType]!;
  const { delta, attention, rope } = config;
  const f32 = (value: number) => ({ f32: value });
  const keys: Record<string, GgufField> = {
    block_count: config.layers.length,
    context_length: config.maxPositions,
    embedding_length: config.hiddenSize,
    feed_forward_length: Number(json.intermediate_size ?? 0),
    "attention.head_count": attention.queryHeads,
    // As some converters write it: none for layers without a cache.
    "attention.head_count_kv": config.layers.map(({ mixer }) => (mixer === "attention" ? attention.keyValueHeads : 0)),
    "attention.key_length": attention.headDim,
    "attention.value_length": attention.headDim,
    "attention.layer_norm_rms_epsilon": f32(config.normEps),
    "rope.freq_base": f32(rope.theta),
    "rope.dimension_count": rope.rotaryDim,
    "ssm.conv_kernel": delta.convTaps,
    "ssm.state_size": delta.keyDim,
    "ssm.group_count": delta.keyHeads,
    "ssm.time_step_rank": delta.valueHeads,
    "ssm.inner_size": delta.valueHeads * delta.valueDim,
    ...(rope.yarn && {
      "rope.scaling.type": "yarn",
      "rope.scaling.factor": f32(rope.yarn.factor),
      "rope.scaling.original_context_length": rope.yarn.originalPositions,
    }),
    ...(config.experts > 0 && {
      expert_count: config.experts,
      expert_used_count: config.topK,
      expert_feed_forward_length: config.expertSize,
      expert_shared_feed_forward_length: config.sharedExpertSize,
    }),
  };
  const metadata: Record<string, GgufField> = { "general.architecture": arch };
  for (const [key, value] of Object.entries(keys)) metadata[`${arch}.${key}`] = value;
  return { arch, metadata };
}
