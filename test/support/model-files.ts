import { encodeRows } from "../../src/weights/convert.ts";
import { encodeSafetensors } from "../../src/weights/write-safetensors.ts";

export type ModelFiles = Record<string, string | Uint8Array>;

/** Tensors of a tiny model; the values are small integers, exact in every format. */
export const tensors = [
  { name: "norm", dtype: "F32", shape: [4], data: f32([1, 2, 3, 4]) },
  { name: "matrix", dtype: "BF16", shape: [3, 2], data: bf16([1, 2, 3, 4, 5, 6]) },
  { name: "experts", dtype: "F16", shape: [2, 2, 2], data: f16([1, 2, 3, 4, 5, 6, 7, 8]) },
  { name: "ids", dtype: "I64", shape: [1], data: new Uint8Array(8) },
];

function f32(values: number[]): Uint8Array {
  return encodeRows(Float32Array.from(values), 1, "f32", "test").data;
}

function bf16(values: number[]): Uint8Array {
  return encodeRows(Float32Array.from(values), 1, "bf16", "test").data;
}

function f16(values: number[]): Uint8Array {
  return encodeRows(Float32Array.from(values), 1, "f16", "test").data;
}

/** The files of a tiny model, with `changes`; undefined takes a file away. */
export function modelFiles(changes: Record<string, string | Uint8Array | undefined> = {}): ModelFiles {
  const files: Record<string, string | Uint8Array | undefined> = {
    "config.json": '{ "model_type": "tiny" }',
    "generation_config.json": '{ "temperature": 0.5 }',
    "tokenizer.json": '{ "version": "1.0" }',
    "tokenizer_config.json": '{ "chat_template": "from the config" }',
    "model.safetensors": encodeSafetensors(tensors),
    ...changes,
  };
  return Object.fromEntries(Object.entries(files).filter(([, content]) => content !== undefined)) as ModelFiles;
}

/** The same with two shards and an index. */
export function shardedFiles(weightMap?: Record<string, unknown>): ModelFiles {
  const map = weightMap ?? { norm: "a.safetensors", matrix: "b.safetensors", experts: "b.safetensors" };
  return modelFiles({
    "model.safetensors": undefined,
    "model.safetensors.index.json": JSON.stringify({ metadata: { total_size: 1 }, weight_map: map }),
    "a.safetensors": encodeSafetensors(tensors.slice(0, 1)),
    "b.safetensors": encodeSafetensors(tensors.slice(1)),
  });
}

export const toFiles = (files: ModelFiles, folder?: string): File[] =>
  Object.entries(files).map(([name, content]) => {
    const file = new File([content as Uint8Array<ArrayBuffer>], name);
    if (folder !== undefined) Object.defineProperty(file, "webkitRelativePath", { value: `${folder}/${name}` });
    return file;
  });
