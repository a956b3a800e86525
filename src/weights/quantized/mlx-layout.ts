import { invariant } from "../../errors.ts";
import type { CheckpointTensor } from "../checkpoint.ts";
import { decodeRows } from "../decode.ts";
import { bytesOf } from "../views.ts";

/**
 * Tensors of a model that MLX has converted, as Hugging Face has them: MLX puts `language_model.` in front, keeps experts on top of
 * each other, turns the convolution's last two dimensions around, and adds 1 to the norms. The convolution tells by its shape
 * whether that was done.
 */
export function undoMlxLayout(tensors: ReadonlyMap<string, CheckpointTensor>): Map<string, CheckpointTensor> {
  const isConverted = [...tensors.values()].some(isTurnedConvolution);
  if (!isConverted) return new Map(tensors);
  const result = new Map<string, CheckpointTensor>();
  for (const tensor of tensors.values()) {
    const name = tensor.name.replace(/^language_model\./, "");
    for (const original of originals({ ...tensor, name })) result.set(original.name, original);
  }
  return result;
}

const isTurnedConvolution = ({ name, shape }: CheckpointTensor): boolean =>
  name.endsWith(".linear_attn.conv1d.weight") && shape.length === 3 && shape[1] > 1 && shape[2] === 1;

function originals(tensor: CheckpointTensor): CheckpointTensor[] {
  if (isTurnedConvolution(tensor)) return [turned(tensor)];
  if (RAISED_NORMS.test(tensor.name)) return [lowered(tensor)];
  const expert = EXPERTS.exec(tensor.name);
  return expert && tensor.shape.length === 3 ? split(tensor, expert[1], expert[2]) : [tensor];
}

/** All norms that Hugging Face stores as a distance from 1; that of the delta layer's output is not among them. */
const RAISED_NORMS =
  /(^|\.)(model\.norm|input_layernorm|post_attention_layernorm|self_attn\.[qk]_norm|mtp\.norm|pre_fc_norm_(embedding|hidden))\.weight$/;

const EXPERTS = /^(.*\.mlp\.)switch_mlp\.((?:gate|up|down)_proj\.weight)$/;

/** [channels, taps, 1] → [channels, 1, taps], which are the same numbers in the same order. */
function turned(tensor: CheckpointTensor): CheckpointTensor {
  const [channels, taps] = tensor.shape;
  return {
    ...tensor,
    shape: [channels, 1, taps],
    read: async (from, to, signal) => ({
      ...(await tensor.read(from * taps, to * taps, signal)),
      rows: to - from,
      columns: taps,
    }),
  };
}

function lowered(tensor: CheckpointTensor): CheckpointTensor {
  return {
    ...tensor,
    format: "f32",
    async read(from, to, signal) {
      const rows = await tensor.read(from, to, signal);
      const data = bytesOf(decodeRows(rows).map((factor) => factor - 1));
      return { format: "f32", rows: rows.rows, columns: rows.columns, data };
    },
  };
}

/** One tensor for each expert. */
function split(tensor: CheckpointTensor, prefix: string, suffix: string): CheckpointTensor[] {
  const [experts, rows, columns] = tensor.shape;
  return Array.from({ length: experts }, (_, e) => {
    const name = `${prefix}experts.${e}.${suffix}`;
    return {
      ...tensor,
      ...{ name, shape: [rows, columns], sizeBytes: tensor.sizeBytes / experts },
      read(from, to, signal) {
        invariant(0 <= from && from <= to && to <= rows, `rows [${from}, ${to}) of ${name}, which has ${rows}`);
        return tensor.read(e * rows + from, e * rows + to, signal);
      },
    };
  });
}
