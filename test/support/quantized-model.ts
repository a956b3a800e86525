import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseSafetensors } from "../../src/weights/safetensors.ts";
import { encodeSafetensors } from "../../src/weights/write-safetensors.ts";
import { BF16 } from "./mini-float.ts";
import type { ModelFiles } from "./model-files.ts";
import { floats, type StoredPart, type Writer } from "./quantized-writer.ts";
import { fixtureFolder } from "./reference-model.ts";

export interface Plain {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

export interface PlainModel {
  readonly config: Record<string, unknown>;
  readonly tensors: readonly Plain[];
}

/** The tensors of a fixture, as numbers. */
export async function fixtureTensors(fixture: string): Promise<PlainModel> {
  const folder = fixtureFolder(fixture);
  const path = join(folder, "model.safetensors");
  const file = new Uint8Array(await readFile(path));
  const tensors = parseSafetensors(file, path).tensors.map(({ name, shape, from, to }) => {
    const halves = new Uint16Array(file.slice(from, to).buffer);
    return { name, shape, values: Float32Array.from(halves, (half) => BF16.decode(half)) };
  });
  return { config: JSON.parse(await readFile(join(folder, "config.json"), "utf8")), tensors };
}

/** One layer of each kind, and four experts: enough to meet every tensor. */
export function shortened({ config, tensors }: PlainModel): PlainModel {
  const layers = { ...config, num_hidden_layers: 2, layer_types: ["linear_attention", "full_attention"] };
  const renumbered = tensors.flatMap(({ name, ...tensor }): Plain[] => {
    const layer = Number(/layers\.(\d+)\./.exec(name)?.[1] ?? 0);
    const expert = Number(/experts\.(\d+)\./.exec(name)?.[1] ?? 0);
    if (expert >= 4 || layer === 1 || layer === 2) return [];
    const values = name.endsWith("mlp.gate.weight") ? tensor.values.slice(0, 4 * tensor.shape[1]) : tensor.values;
    const shape = name.endsWith("mlp.gate.weight") ? [4, tensor.shape[1]] : tensor.shape;
    return [{ name: name.replace("layers.3.", "layers.1."), shape, values }];
  });
  return { config: { ...layers, num_experts: 4, num_experts_per_tok: 2 }, tensors: renumbered };
}

export interface QuantizedModel {
  /** As the tool writes it. */
  readonly files: ModelFiles;
  /** The same model with the weights that the quantised ones stand for, in F32. */
  readonly plain: ModelFiles;
  /** ‖quantised − original‖ / ‖original‖ of the matrices that were quantised. */
  readonly error: number;
}

export interface Quantizer {
  readonly config: Readonly<Record<string, unknown>>;
  readonly write: Writer;
  /** Whether a matrix is quantised; default: all projections. */
  readonly chooses?: (name: string) => boolean;
  /** Puts the whole model into MLX's layout. */
  readonly isMlx?: boolean;
}

const isProjection = (name: string): boolean => /_proj(_qkvz|_qkv|_z)?\.weight$/.test(name);

/** Writes a model as a quantiser leaves it. */
export function quantizedModel(
  config: Record<string, unknown>,
  tensors: readonly Plain[],
  { config: extra, write, chooses = isProjection, isMlx = false }: Quantizer,
): QuantizedModel {
  const stored: { name: string; dtype: string; shape: readonly number[]; data: Uint8Array }[] = [];
  const plain: typeof stored = [];
  let [difference, norm] = [0, 0];
  for (const tensor of tensors) {
    const { name, shape, values } = tensor;
    if (!chooses(name)) {
      plain.push({ name, dtype: "F32", shape, data: floats("F32", values) });
      stored.push({ name, dtype: "BF16", shape, data: floats("BF16", values) });
      continue;
    }
    const written = write({ rows: shape[0], columns: shape[1], values });
    const module = name.replace(/weight$/, "");
    stored.push(...written.parts.map(({ suffix, ...part }) => ({ name: module + suffix, ...part })));
    plain.push({ name, dtype: "F32", shape, data: floats("F32", written.values) });
    for (let i = 0; i < values.length; i++) {
      difference += (written.values[i] - values[i]) ** 2;
      norm += values[i] ** 2;
    }
  }
  const files = (parts: typeof stored, json: object): ModelFiles => ({
    "config.json": JSON.stringify(json),
    "model.safetensors": encodeSafetensors(parts),
  });
  return {
    files: files(isMlx ? mlxLayout(stored) : stored, { ...config, ...extra }),
    plain: files(plain, config),
    error: Math.sqrt(difference / norm),
  };
}

type Named = Omit<StoredPart, "suffix"> & { readonly name: string };

/** What MLX's converter does besides quantising. */
function mlxLayout(tensors: readonly Named[]): Named[] {
  const stacks = new Map<string, Named[]>();
  const result: Named[] = [];
  for (const tensor of tensors) {
    const expert = /^(.*\.mlp\.)experts\.\d+\.(.*)$/.exec(tensor.name);
    const name = tensor.name.replace(/^model\./, "language_model.model.").replace(/^lm_head/, "language_model.lm_head");
    if (expert) {
      const stack = `language_model.${expert[1]}switch_mlp.${expert[2]}`;
      stacks.set(stack, [...(stacks.get(stack) ?? []), tensor]);
    } else if (name.endsWith("conv1d.weight")) {
      result.push({ ...tensor, name, shape: [tensor.shape[0], tensor.shape[2], tensor.shape[1]] });
    } else if (/norm\.weight$/.test(name) && !name.includes("linear_attn.norm")) {
      const halves = new Uint16Array(tensor.data.slice().buffer);
      const raised = Float32Array.from(halves, (half) => BF16.decode(half) + 1);
      result.push({ ...tensor, name, dtype: "F32", data: floats("F32", raised) });
    } else result.push({ ...tensor, name });
  }
  for (const [name, parts] of stacks) {
    const data = new Uint8Array(parts.reduce((bytes, part) => bytes + part.data.length, 0));
    let at = 0;
    for (const part of parts) {
      data.set(part.data, at);
      at += part.data.length;
    }
    result.push({ name, dtype: parts[0].dtype, shape: [parts.length, ...parts[0].shape], data });
  }
  return result;
}
