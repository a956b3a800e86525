import { CheckpointError, invariant } from "../../errors.ts";
import type { Checkpoint, CheckpointTensor, FileSource } from "../checkpoint.ts";
import { dataBytes, scaleBytes, type WeightRows } from "../format.ts";
import { divideShards } from "./divide-shards.ts";
import {
  MANIFEST,
  type PackedTensor,
  type PackManifest,
  parseManifest,
  partLayout,
  partRange,
  partRowCount,
  REMEDY,
} from "./manifest.ts";
import { PartReader, TURN_BYTES, verify } from "./part-reader.ts";

/**
 * Opens a packed store, where there is one: `sluice.json` and the shards that it names. Weights are read later, by whole
 * parts, and checked as they are. Fails with `CheckpointError`, which names the file, where something is missing or damaged.
 */
export async function openPacked(files: FileSource, signal?: AbortSignal): Promise<Checkpoint | undefined> {
  if ((await files.size(MANIFEST, signal)) === undefined) return undefined;
  const manifest = parseManifest(`${files.label}/${MANIFEST}`, await files.read(MANIFEST, undefined, signal));
  await Promise.all(manifest.shards.map((shard) => checkSize(files, shard, signal)));
  divideShards(files, manifest);
  const text = (name: string) => readText(files, manifest, name, signal);
  const [tokenizer, tokenizerConfig, chatTemplate] = await Promise.all([
    text("tokenizer.json"),
    text("tokenizer_config.json"),
    text("chat_template.jinja"),
  ]);
  const reader = new PartReader(files);
  const turnBytes = files.readHashed && TURN_BYTES;
  const tensors = Object.entries(manifest.tensors).map(
    ([name, tensor]) => [name, packedTensor(manifest, name, tensor, reader, turnBytes)] as const,
  );
  return {
    label: files.label,
    config: manifest.config,
    generationConfig: manifest.generationConfig ?? {},
    tokenizer: tokenizer ? { json: JSON.parse(tokenizer), config: JSON.parse(tokenizerConfig ?? "{}") } : undefined,
    chatTemplate,
    tensors: new Map(tensors),
    isCanonical: true,
    sizeBytes: tensors.reduce((sum, [, { sizeBytes }]) => sum + sizeBytes, 0),
    close: async () => files.close?.(),
  };
}

async function checkSize(files: FileSource, { file, bytes }: PackManifest["shards"][number], signal?: AbortSignal) {
  const found = await files.size(file, signal);
  if (found === bytes) return;
  const problem = found === undefined ? "the file is missing" : `the file has ${found} bytes instead of ${bytes}`;
  throw new CheckpointError(`${files.label}/${file}`, `${problem}. ${REMEDY}`);
}

async function readText(files: FileSource, manifest: PackManifest, name: string, signal?: AbortSignal) {
  const entry = manifest.files.find(({ file }) => file === name);
  if (!entry) return undefined;
  const bytes = await files.read(name, undefined, signal);
  await verify(files.label, entry, bytes);
  return new TextDecoder().decode(bytes);
}

function packedTensor(
  manifest: PackManifest,
  name: string,
  tensor: PackedTensor,
  reader: PartReader,
  turnBytes: number | undefined,
): CheckpointTensor {
  const { format, rows, columns, partRows } = tensor;
  const readPart = async (index: number, signal?: AbortSignal): Promise<WeightRows> => {
    const count = partRowCount(tensor, index);
    const { data, scales, scalesAt } = partLayout(format, count, columns);
    const { bytes, release } = await reader.read(partRange(manifest, tensor, index), signal);
    return {
      ...{ format, columns, rows: count, data: bytes.subarray(0, data), release },
      ...(scales > 0 && { scales: bytes.subarray(scalesAt, scalesAt + scales) }),
    };
  };
  return {
    ...{ name, format, partRows, turnBytes },
    shape: [rows, columns],
    sizeBytes: dataBytes(format, rows * columns) + scaleBytes(format, rows * columns),
    async read(from, to, signal) {
      invariant(0 <= from && from < to && to <= rows, `rows [${from}, ${to}) of ${name}, which has ${rows}`);
      const first = Math.floor(from / partRows);
      const count = Math.ceil(to / partRows) - first;
      // Asked for at once, so that what lies together is read together.
      const parts = await Promise.all(Array.from({ length: count }, (_, i) => readPart(first + i, signal)));
      const isWhole = count === 1 && to - from === parts[0].rows;
      return isWhole ? parts[0] : cutRows(parts, from - first * partRows, to - from);
    },
  };
}

/** `count` rows from row `skip` of the parts on. */
function cutRows(parts: readonly WeightRows[], skip: number, count: number): WeightRows {
  const { format, columns } = parts[0];
  const plane = (of: (part: WeightRows) => Uint8Array | undefined, rowBytes: number): Uint8Array => {
    // A plane of scales ends on a whole u32.
    const target = new Uint8Array(Math.ceil((count * rowBytes) / 4) * 4);
    let at = -skip * rowBytes;
    for (const part of parts) {
      const bytes = of(part)!.subarray(Math.max(0, -at), Math.max(0, count * rowBytes - at));
      target.set(bytes, Math.max(0, at));
      at += part.rows * rowBytes;
    }
    return target;
  };
  const data = plane((part) => part.data, dataBytes(format, columns)).subarray(0, dataBytes(format, count * columns));
  const scales = parts[0].scales && plane((part) => part.scales, scaleBytes(format, columns));
  return { format, columns, rows: count, data, ...(scales && { scales }) };
}
