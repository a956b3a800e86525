import { CheckpointError } from "../../errors.ts";
import { dataBytes, scaleBytes, type WeightFormat } from "../format.ts";

/** The file that makes a folder a packed store (docs/weights.md has the format). */
export const MANIFEST = "sluice.json";
export const PACK_VERSION = 1;

/** Parts, and the planes within them, begin at multiples of this. */
export const ALIGNMENT = 256;

export interface PackManifest {
  readonly sluice: "packed";
  readonly version: typeof PACK_VERSION;
  /** config.json and generation_config.json of the model. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly generationConfig: Readonly<Record<string, unknown>>;
  /** Files beside the shards, in full: tokenizer.json, tokenizer_config.json, chat_template.jinja, as far as there are. */
  readonly files: readonly HashedRange[];
  readonly shards: readonly { readonly file: string; readonly bytes: number }[];
  /** By place in `ModelWeights`: `layers.0.mixer.inProj`. */
  readonly tensors: Readonly<Record<string, PackedTensor>>;
}

/** The bytes [from, to) of a file, and their SHA-256 in hexadecimal. */
export interface HashedRange {
  readonly file: string;
  readonly from: number;
  readonly to: number;
  readonly sha256: string;
}

/** A matrix in parts of `partRows` rows (the last may have fewer), each with its rows of both planes. */
export interface PackedTensor {
  readonly format: WeightFormat;
  readonly rows: number;
  readonly columns: number;
  readonly partRows: number;
  /** Number of the shard, first byte in it, SHA-256. */
  readonly parts: readonly (readonly [number, number, string])[];
}

/** Where the planes of a part with so many rows are: data from 0 on, scales from `scalesAt`; `bytes` is a multiple of 4. */
export function partLayout(format: WeightFormat, rows: number, columns: number) {
  const data = dataBytes(format, rows * columns);
  const scales = scaleBytes(format, rows * columns);
  const scalesAt = aligned(data, ALIGNMENT);
  return { data, scales, scalesAt, bytes: aligned(scales > 0 ? scalesAt + scales : data, 4) };
}

export const aligned = (bytes: number, to: number): number => Math.ceil(bytes / to) * to;

/** Rows of part `index`. */
export const partRowCount = ({ rows, partRows }: PackedTensor, index: number): number =>
  Math.min(partRows, rows - index * partRows);

/** Part `index` as a range of its shard. */
export function partRange(manifest: Pick<PackManifest, "shards">, tensor: PackedTensor, index: number): HashedRange {
  const [shard, from, sha256] = tensor.parts[index];
  const { bytes } = partLayout(tensor.format, partRowCount(tensor, index), tensor.columns);
  return { file: manifest.shards[shard].file, from, to: from + bytes, sha256 };
}

/** What belongs together: a piece of a dense matrix, or both matrices of one expert, one after the other in a shard. */
export interface PackRecord {
  readonly file: string;
  readonly from: number;
  readonly to: number;
  /** Which expert of which layer; undefined for what every token needs. */
  readonly expert?: { readonly layer: number; readonly id: number };
  /** Its parts in order, each with its hash; between them are at most 255 bytes that say nothing. */
  readonly parts: readonly HashedRange[];
}

/** Every record of a packed store in the order of its shards, what every token needs first. */
export function listRecords(manifest: PackManifest): PackRecord[] {
  const records = Object.entries(manifest.tensors).flatMap(([name, tensor]): PackRecord[] => {
    const layer = /^layers\.(\d+)\.feedForward\.experts\.(gateUp|down)$/.exec(name);
    if (layer?.[2] === "down") return [];
    const down = layer && manifest.tensors[name.replace(/gateUp$/, "down")];
    return tensor.parts.map((_, id) => {
      const parts = [partRange(manifest, tensor, id), ...(down ? [partRange(manifest, down, id)] : [])];
      const { file, from } = parts[0];
      return { file, from, to: parts.at(-1)!.to, parts, ...(layer && { expert: { layer: Number(layer[1]), id } }) };
    });
  });
  const order = new Map(manifest.shards.map(({ file }, i) => [file, i]));
  return records.sort((a, b) => order.get(a.file)! - order.get(b.file)! || a.from - b.from);
}

/** Reads a manifest. Fails with `CheckpointError` where it is damaged or of a version to come. */
export function parseManifest(label: string, bytes: Uint8Array): PackManifest {
  let manifest: Partial<PackManifest>;
  try {
    manifest = JSON.parse(new TextDecoder().decode(bytes));
  } catch (cause) {
    throw new CheckpointError(label, `this is not JSON. ${REMEDY}`, { cause });
  }
  if (manifest?.sluice !== "packed") throw new CheckpointError(label, `this is not a packed model's. ${REMEDY}`);
  if (manifest.version !== PACK_VERSION) {
    const message = `this is version ${manifest.version} of the packed format; this Sluice reads version ${PACK_VERSION}.`;
    throw new CheckpointError(label, `${message} Update Sluice, or pack the model with this one.`);
  }
  const { shards, tensors, files, config } = manifest;
  if (!Array.isArray(shards) || !Array.isArray(files) || !isObject(tensors) || !isObject(config)) {
    throw new CheckpointError(label, `shards, files, tensors or config are missing. ${REMEDY}`);
  }
  for (const file of [...shards, ...files].map((entry) => entry?.file)) {
    // Files lie beside the manifest; anything else would let a model read where it should not.
    if (typeof file !== "string" || file === "" || /[/\\]|\.\./.test(file)) {
      throw new CheckpointError(label, `${JSON.stringify(file)} is not a plain file name. ${REMEDY}`);
    }
  }
  for (const [name, tensor] of Object.entries(tensors)) checkTensor(label, name, tensor, shards);
  return manifest as PackManifest;
}

/** What helps where a packed model's bytes are wrong. */
export const REMEDY = "Download it again, or pack the model anew with `sluice pack`.";

function checkTensor(label: string, name: string, tensor: PackedTensor, shards: PackManifest["shards"]): void {
  const { format, rows, columns, partRows, parts } = tensor;
  const isSound =
    FORMATS.has(format) &&
    [rows, columns, partRows].every((size) => Number.isSafeInteger(size) && size > 0) &&
    Array.isArray(parts) &&
    parts.length === Math.ceil(rows / partRows) &&
    parts.every(([shard, from, sha256], i) => {
      const { bytes } = partLayout(format, partRowCount(tensor, i), columns);
      return from % ALIGNMENT === 0 && from + bytes <= shards[shard]?.bytes && /^[0-9a-f]{64}$/.test(sha256);
    });
  if (!isSound) throw new CheckpointError(label, `tensor ${name} has no sound format, shape and parts. ${REMEDY}`);
}

const FORMATS: ReadonlySet<string> = new Set<WeightFormat>(["f32", "f16", "bf16", "q8", "q4", "q4a"]);

const isObject = (value: unknown): value is Record<string, never> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
