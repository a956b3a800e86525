import { CheckpointError } from "../errors.ts";
import type { FileSource } from "./checkpoint.ts";

/** One tensor of a safetensors file: the bytes [from, to) of the file. */
export interface StoredTensor {
  readonly name: string;
  readonly file: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly from: number;
  readonly to: number;
}

export interface SafetensorsHeader {
  /** In the order in which they lie in the file. */
  readonly tensors: readonly StoredTensor[];
  readonly metadata: Readonly<Record<string, string>>;
}

/** Bits of an element, by the format's dtype names. */
const DTYPE_BITS: Readonly<Record<string, number>> = {
  ...{ F4: 4, F6_E2M3: 6, F6_E3M2: 6 },
  ...{ BOOL: 8, U8: 8, I8: 8, F8_E4M3: 8, F8_E5M2: 8, F8_E8M0: 8 },
  ...{ U16: 16, I16: 16, F16: 16, BF16: 16 },
  ...{ U32: 32, I32: 32, F32: 32 },
  ...{ U64: 64, I64: 64, F64: 64, C64: 64 },
};

const PREFIX_BYTES = 8;
/** The format's own limit. */
const MAX_HEADER_BYTES = 100_000_000;

/**
 * Reads and checks the header of `file`: u64 length, JSON of that length, data.
 * Fails with `CheckpointError` where header, tensors and file size contradict each other.
 */
export async function readSafetensorsHeader(
  files: FileSource,
  file: string,
  signal?: AbortSignal,
): Promise<SafetensorsHeader> {
  const label = `${files.label}/${file}`;
  const fileBytes = await files.size(file, signal);
  if (fileBytes === undefined) throw new CheckpointError(label, "there is no such file.");
  const prefix = await files.read(file, { from: 0, to: Math.min(PREFIX_BYTES, fileBytes) }, signal);
  const headerBytes = headerLength(label, prefix, fileBytes);
  const dataStart = PREFIX_BYTES + headerBytes;
  const json = await files.read(file, { from: PREFIX_BYTES, to: dataStart }, signal);
  return parseHeader(label, file, json, fileBytes);
}

/** The header of a safetensors file that is in memory as a whole. */
export function parseSafetensors(bytes: Uint8Array, file: string): SafetensorsHeader {
  const headerBytes = headerLength(file, bytes.subarray(0, PREFIX_BYTES), bytes.length);
  return parseHeader(file, file, bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + headerBytes), bytes.length);
}

function headerLength(label: string, prefix: Uint8Array, fileBytes: number): number {
  if (prefix.length < PREFIX_BYTES) {
    throw new CheckpointError(label, `the file has ${fileBytes} bytes, too few for a safetensors header.`);
  }
  if (new TextDecoder().decode(prefix) === "version ") {
    throw new CheckpointError(label, "this is a Git LFS pointer, not the file itself. Fetch it with `git lfs pull`.");
  }
  const length = Number(new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES).getBigUint64(0, true));
  if (length > MAX_HEADER_BYTES) {
    throw new CheckpointError(label, `a header of ${length} bytes cannot be: this is not a safetensors file.`);
  }
  if (PREFIX_BYTES + length > fileBytes) {
    throw new CheckpointError(label, `the header has ${length} bytes, the file ${fileBytes}. ${TRUNCATED}`);
  }
  return length;
}

const TRUNCATED = "It is truncated: download it again.";

function parseHeader(label: string, file: string, json: Uint8Array, fileBytes: number): SafetensorsHeader {
  const { __metadata__: metadata = {}, ...entries } = parseJson(label, json);
  const dataStart = PREFIX_BYTES + json.length;
  const tensors = Object.entries(entries)
    .map(([name, entry]) => storedTensor(label, file, name, entry, dataStart))
    .sort((a, b) => a.from - b.from || a.to - b.to);
  let end = dataStart;
  let previous = "";
  for (const { name, from, to } of tensors) {
    if (from < end) {
      throw new CheckpointError(
        label,
        `tensor ${name} begins at byte ${from}, within ${previous}, which ends at ${end}.`,
      );
    }
    if (to > fileBytes) {
      throw new CheckpointError(label, `tensor ${name} ends at byte ${to}, the file at ${fileBytes}. ${TRUNCATED}`);
    }
    end = to;
    previous = name;
  }
  return { tensors, metadata: metadata as Record<string, string> };
}

function parseJson(label: string, json: Uint8Array): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(json));
  } catch (cause) {
    throw new CheckpointError(label, "the header is not JSON: the file is corrupt.", { cause });
  }
  if (typeof header !== "object" || header === null || Array.isArray(header)) {
    throw new CheckpointError(label, "the header is not a JSON object: the file is corrupt.");
  }
  return header as Record<string, unknown>;
}

function storedTensor(label: string, file: string, name: string, entry: unknown, dataStart: number): StoredTensor {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  if (typeof dtype !== "string" || !isCounts(shape) || !isCounts(offsets) || offsets.length !== 2) {
    throw new CheckpointError(
      label,
      `tensor ${name} has no sound dtype, shape and data_offsets: the header is corrupt.`,
    );
  }
  const [begin, end] = offsets;
  if (begin > end)
    throw new CheckpointError(label, `tensor ${name} ends at byte ${end}, before it begins at ${begin}.`);
  const bits = DTYPE_BITS[dtype];
  const bytes = (shape.reduce((product, size) => product * size, 1) * bits) / 8;
  if (bits !== undefined && bytes !== end - begin) {
    const expected = `${dtype} [${shape.join(", ")}] takes ${bytes} bytes`;
    throw new CheckpointError(label, `tensor ${name}: ${expected}, but its offsets span ${end - begin}.`);
  }
  return { name, file, dtype, shape, from: dataStart + begin, to: dataStart + end };
}

const isCounts = (value: unknown): value is number[] =>
  Array.isArray(value) && value.every((item) => Number.isSafeInteger(item) && item >= 0);
