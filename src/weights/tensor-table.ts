import { CheckpointError, invariant } from "../errors.ts";
import type { CheckpointTensor, FileSource } from "./checkpoint.ts";
import { dataBytes, type QuantizedFormat, scaleBytes, type WeightFormat } from "./format.ts";
import { isPackedFile, scalesName, unpackLayout } from "./packed-tensors.ts";
import { undoMlxLayout } from "./quantized/mlx-layout.ts";
import type { Scheme } from "./quantized/scheme.ts";
import { readSafetensorsHeader, type StoredTensor } from "./safetensors.ts";

const SINGLE = "model.safetensors";
const INDEX = "model.safetensors.index.json";

const FORMATS: Readonly<Record<string, WeightFormat>> = { F32: "f32", F16: "f16", BF16: "bf16" };

/** By other tools. */
const NOTHING_QUANTIZED = { tensors: [], parts: new Set<string>() };

/**
 * The tensors of a model in safetensors, one file or shards with an index, under Hugging Face's names; `scheme` is what
 * config.json says of those that are quantised. Reads headers only.
 */
export async function openTensors(
  files: FileSource,
  scheme: Scheme,
  signal?: AbortSignal,
): Promise<Map<string, CheckpointTensor>> {
  const stored = new Map<string, StoredTensor>();
  const packedFiles = new Set<string>();
  const index = await shardIndex(files, signal);
  const headers = await Promise.all(
    index.shards.map(async (file) => ({ file, ...(await readSafetensorsHeader(files, file, signal)) })),
  );
  for (const { file, tensors, metadata } of headers) {
    if (isPackedFile(`${files.label}/${file}`, metadata)) packedFiles.add(file);
    for (const tensor of tensors) if (index.holds(tensor)) stored.set(tensor.name, tensor);
  }
  for (const [name, file] of index.names) {
    if (!stored.has(name))
      throw new CheckpointError(`${files.label}/${file}`, `${INDEX} names tensor ${name}, not there.`);
  }
  return undoMlxLayout(await tensorTable(files, stored, packedFiles, scheme));
}

interface ShardIndex {
  readonly shards: readonly string[];
  /** Tensor → shard, as the index says; empty for a single file. */
  readonly names: ReadonlyMap<string, string>;
  holds(tensor: StoredTensor): boolean;
}

async function shardIndex(files: FileSource, signal?: AbortSignal): Promise<ShardIndex> {
  if ((await files.size(SINGLE, signal)) !== undefined) {
    return { shards: [SINGLE], names: new Map(), holds: () => true };
  }
  if ((await files.size(INDEX, signal)) === undefined) {
    const message = `there is neither ${SINGLE} nor ${INDEX}. Sluice reads weights in safetensors.`;
    throw new CheckpointError(files.label, message);
  }
  const label = `${files.label}/${INDEX}`;
  const names = weightMap(label, await files.read(INDEX, undefined, signal));
  const shards = [...new Set(names.values())];
  await Promise.all(
    shards.map(async (shard) => {
      if ((await files.size(shard, signal)) !== undefined) return;
      throw new CheckpointError(label, `the shard ${shard}, one of ${shards.length}, is missing. Download it as well.`);
    }),
  );
  return { shards, names, holds: ({ name, file }) => names.get(name) === file };
}

function weightMap(label: string, bytes: Uint8Array): Map<string, string> {
  let map: unknown;
  try {
    map = JSON.parse(new TextDecoder().decode(bytes))?.weight_map;
  } catch (cause) {
    throw new CheckpointError(label, "this is not JSON: the file is corrupt.", { cause });
  }
  if (typeof map !== "object" || map === null) throw new CheckpointError(label, "there is no weight_map in it.");
  for (const [tensor, file] of Object.entries(map)) {
    // Shards lie beside the index; anything else would let a checkpoint read where it should not.
    if (typeof file !== "string" || file === "" || /[/\\]|\.\./.test(file)) {
      throw new CheckpointError(
        label,
        `tensor ${tensor} is said to be in ${JSON.stringify(file)}, not a plain file name.`,
      );
    }
  }
  return new Map(Object.entries(map as Record<string, string>));
}

async function tensorTable(
  files: FileSource,
  stored: ReadonlyMap<string, StoredTensor>,
  packedFiles: ReadonlySet<string>,
  scheme: Scheme,
): Promise<Map<string, CheckpointTensor>> {
  const isPlain = ({ file, dtype }: StoredTensor) => packedFiles.has(file) || FORMATS[dtype] !== undefined;
  const { tensors, parts } =
    scheme.kind === "none" && [...stored.values()].every(isPlain)
      ? NOTHING_QUANTIZED
      : (await import("./quantized/assemble.ts")).assembleQuantized(files, stored, scheme);
  const table = new Map<string, CheckpointTensor>();
  const scalesSeen = new Set<string>();
  for (const [name, data] of stored) {
    if (parts.has(name)) continue;
    const scales = stored.get(scalesName(name));
    const layout = packedFiles.has(data.file) && unpackLayout(`${files.label}/${data.file}`, data, scales);
    if (layout) scalesSeen.add(scalesName(name));
    table.set(name, layout ? packedTensor(files, data, scales!, layout) : denseTensor(files, data));
  }
  for (const name of scalesSeen) table.delete(name);
  for (const tensor of tensors) table.set(tensor.name, tensor);
  return table;
}

function denseTensor(files: FileSource, stored: StoredTensor): CheckpointTensor {
  const { name, file, dtype, shape } = stored;
  const format = FORMATS[dtype];
  const problem = format
    ? undefined
    : `tensor ${name} is ${dtype} without the parts that would say what it stands for. Use a checkpoint in BF16, or quantised in a way that Sluice reads.`;
  return {
    name,
    shape,
    format: format ?? "f32",
    problem,
    sizeBytes: stored.to - stored.from,
    turnBytes: turnBytesOf(files),
    async read(from, to, signal) {
      if (!format) throw new CheckpointError(`${files.label}/${file}`, problem!);
      const { rows, columns } = rowsOf(name, shape, from, to);
      const data = await readRows(files, stored, dataBytes(format, columns), from, to, signal);
      return { format, rows, columns, data, ...releasing(files, data) };
    },
  };
}

function packedTensor(
  files: FileSource,
  data: StoredTensor,
  scales: StoredTensor,
  { shape, format }: { shape: readonly number[]; format: QuantizedFormat },
): CheckpointTensor {
  return {
    name: data.name,
    shape,
    format,
    sizeBytes: data.to - data.from + (scales.to - scales.from),
    turnBytes: turnBytesOf(files),
    async read(from, to, signal) {
      const { rows, columns } = rowsOf(data.name, shape, from, to);
      const [dataPlane, scalePlane] = await Promise.all([
        readRows(files, data, dataBytes(format, columns), from, to, signal),
        readRows(files, scales, scaleBytes(format, columns), from, to, signal),
      ]);
      const planes = { data: dataPlane, scales: scalePlane };
      return { format, rows, columns, ...planes, ...releasing(files, dataPlane, scalePlane) };
    },
  };
}

const releasing = (files: FileSource, ...planes: readonly Uint8Array<ArrayBuffer>[]) =>
  files.recycle && {
    release: () => {
      for (const plane of planes) files.recycle!(plane);
    },
  };

/** A source that takes memory back is quick, and best read by larger pieces than a network. */
const turnBytesOf = (files: FileSource): number | undefined => files.recycle && 8e6;

function rowsOf(name: string, shape: readonly number[], from: number, to: number): { rows: number; columns: number } {
  const all = shape.slice(0, -1).reduce((product, size) => product * size, 1);
  invariant(0 <= from && from <= to && to <= all, `rows [${from}, ${to}) of ${name}, which has ${all}`);
  return { rows: to - from, columns: shape.at(-1) ?? 1 };
}

const readRows = (
  files: FileSource,
  stored: StoredTensor,
  rowBytes: number,
  from: number,
  to: number,
  signal?: AbortSignal,
) => files.read(stored.file, { from: stored.from + from * rowBytes, to: stored.from + to * rowBytes }, signal);
