import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseSafetensors, type StoredTensor } from "../../src/weights/safetensors.ts";
import { encodeSafetensors } from "../../src/weights/write-safetensors.ts";
import { fixtureFolder } from "./reference-model.ts";

export interface FixtureChanges {
  /** Merged into config.json. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly generationConfig?: Readonly<Record<string, unknown>>;
  /** Files to add or replace; undefined takes one away. */
  readonly files?: Readonly<Record<string, string | Uint8Array | undefined>>;
  /** Changes a tensor's description or data. */
  readonly tensor?: (tensor: ChangedTensor) => ChangedTensor;
  /** Changes the bytes of model.safetensors. */
  readonly weights?: (bytes: Uint8Array) => Uint8Array;
}

type ChangedTensor = Pick<StoredTensor, "name" | "dtype" | "shape"> & { readonly data: Uint8Array };

/** The files of a fixture, changed, as a user would drop them on a page. */
export async function fixtureFiles(fixture: string, changes: FixtureChanges = {}): Promise<File[]> {
  const read = async (name: string) => new Uint8Array(await readFile(join(fixtureFolder(fixture), name)));
  const json = async (name: string, change = {}) =>
    JSON.stringify({ ...JSON.parse(new TextDecoder().decode(await read(name))), ...change });
  let weights = await read("model.safetensors");
  if (changes.tensor) weights = changeTensors(weights, changes.tensor);
  if (changes.weights) weights = changes.weights(weights) as typeof weights;
  const files = {
    "config.json": await json("config.json", changes.config),
    "generation_config.json": await json("generation_config.json", changes.generationConfig),
    "model.safetensors": weights,
    ...changes.files,
  };
  return Object.entries(files).flatMap(([name, content]) =>
    content === undefined ? [] : [new File([content as Uint8Array<ArrayBuffer>], name)],
  );
}

function changeTensors(bytes: Uint8Array, change: (tensor: ChangedTensor) => ChangedTensor): Uint8Array<ArrayBuffer> {
  const { tensors } = parseSafetensors(bytes, "model.safetensors");
  const changed = tensors.map(({ name, dtype, shape, from, to }) =>
    change({ name, dtype, shape, data: bytes.subarray(from, to) }),
  );
  return encodeSafetensors(changed) as Uint8Array<ArrayBuffer>;
}

/** A tensor with all its f32 or bf16 values replaced by one number. */
export function filled<T extends ChangedTensor>(tensor: T, value: number): T {
  const word = new Uint32Array(new Float32Array([value]).buffer)[0];
  const data = new Uint8Array(tensor.data.length);
  if (tensor.dtype === "F32") new Uint32Array(data.buffer).fill(word);
  else new Uint16Array(data.buffer).fill(word >>> 16);
  return { ...tensor, data };
}
