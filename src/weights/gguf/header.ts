import { CheckpointError } from "../../errors.ts";
import type { FileSource } from "../checkpoint.ts";
import { BLOCK_TYPES, type BlockType, typeName } from "./block-types.ts";
import { HeaderBytes } from "./header-bytes.ts";

export type GgufValue = number | boolean | string | readonly string[] | readonly boolean[] | NumberArray;
export type NumberArray = Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array | Floats;
type Floats = Float32Array | Float64Array;
export type GgufMetadata = ReadonlyMap<string, GgufValue>;

/** One tensor of a file: its bytes [from, to), which for an unsupported type are not known. */
export interface GgufTensor {
  readonly name: string;
  readonly file: string;
  /** Undefined for a type that Sluice does not read; `typeName` names it. */
  readonly type?: BlockType;
  readonly typeName: string;
  /** As Hugging Face orders dimensions: the last is contiguous. */
  readonly shape: readonly number[];
  readonly from: number;
  readonly to: number;
}

export interface GgufHeader {
  readonly metadata: GgufMetadata;
  readonly tensors: readonly GgufTensor[];
}

/**
 * Reads and checks the header of a GGUF file (version 2 or 3): metadata and the table of tensors.
 * Fails with `CheckpointError` where header and file contradict each other.
 */
export async function readGgufHeader(files: FileSource, file: string, signal?: AbortSignal): Promise<GgufHeader> {
  const bytes = await HeaderBytes.open(files, file, signal);
  const counts = await bytes.parse(() => readCounts(bytes));
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < counts.values; i++) {
    const [key, value] = await bytes.parse(() => [bytes.string(), readValue(bytes, bytes.u32())] as const);
    metadata.set(key, value);
  }
  const infos: TensorInfo[] = [];
  for (let i = 0; i < counts.tensors; i++) infos.push(await bytes.parse(() => readTensorInfo(bytes)));
  return { metadata, tensors: placeTensors(bytes, file, infos, metadata.get("general.alignment") ?? 32) };
}

function readCounts(bytes: HeaderBytes): { tensors: number; values: number } {
  const { label } = bytes;
  const magic = bytes.u32();
  if (magic !== MAGIC) {
    const message =
      magic === LFS_POINTER
        ? "this is a Git LFS pointer, not the file itself. Fetch it with `git lfs pull`."
        : "this is not a GGUF file: it does not begin with GGUF.";
    throw new CheckpointError(label, message);
  }
  const version = bytes.u32();
  if (version !== 2 && version !== 3) {
    const message =
      (version & 0xffff) === 0
        ? "this GGUF file is big-endian; Sluice reads little-endian ones."
        : `this is version ${version} of GGUF; Sluice reads 2 and 3. Convert the model again.`;
    throw new CheckpointError(label, message);
  }
  return { tensors: bytes.count(LEAST_TENSOR_BYTES), values: bytes.count(LEAST_VALUE_BYTES) };
}

const MAGIC = 0x46554747;
/** "vers", as in `version https://git-lfs…` */
const LFS_POINTER = 0x73726576;
/** Empty name, one dimension: 8 + 4 + 8 + 4 + 8. */
const LEAST_TENSOR_BYTES = 32;
/** Empty key, one byte: 8 + 4 + 1. */
const LEAST_VALUE_BYTES = 13;

const STRING = 8;
const ARRAY = 9;
const BOOL = 7;

type NumberReader = readonly [(bytes: HeaderBytes) => number, new (size: number) => NumberArray];

/** How numbers are read, and what holds an array of them, by type id. */
const NUMBERS: Readonly<Record<number, NumberReader>> = {
  0: [(bytes) => bytes.u8(), Uint8Array],
  1: [(bytes) => bytes.i8(), Int8Array],
  2: [(bytes) => bytes.u16(), Uint16Array],
  3: [(bytes) => bytes.i16(), Int16Array],
  4: [(bytes) => bytes.u32(), Uint32Array],
  5: [(bytes) => bytes.i32(), Int32Array],
  6: [(bytes) => bytes.f32(), Float32Array],
  10: [(bytes) => bytes.u64(), Float64Array],
  11: [(bytes) => bytes.i64(), Float64Array],
  12: [(bytes) => bytes.f64(), Float64Array],
};

function readValue(bytes: HeaderBytes, type: number): GgufValue {
  if (type === STRING) return bytes.string();
  if (type === BOOL) return bytes.u8() !== 0;
  if (type === ARRAY) return readArray(bytes, bytes.u32());
  const number = NUMBERS[type];
  if (!number) throw unknownType(bytes, type);
  return number[0](bytes);
}

function readArray(bytes: HeaderBytes, type: number): GgufValue {
  if (type === STRING) return Array.from({ length: bytes.count(8) }, () => bytes.string());
  if (type === BOOL) return Array.from({ length: bytes.count(1) }, () => bytes.u8() !== 0);
  const number = NUMBERS[type];
  if (!number) throw unknownType(bytes, type);
  const [read, Numbers] = number;
  const size = new Numbers(0).BYTES_PER_ELEMENT;
  const count = bytes.count(size);
  // Nothing is allocated before its bytes are there.
  bytes.need(count * size);
  const values = new Numbers(count);
  for (let i = 0; i < count; i++) values[i] = read(bytes);
  return values;
}

const unknownType = ({ label, at }: HeaderBytes, type: number): CheckpointError =>
  new CheckpointError(
    label,
    `metadata before byte ${at} is of type ${type}, which GGUF does not have here: the file is corrupt.`,
  );

interface TensorInfo {
  readonly name: string;
  readonly shape: readonly number[];
  readonly type: number;
  readonly offset: number;
}

function readTensorInfo(bytes: HeaderBytes): TensorInfo {
  const name = bytes.string();
  const dimensions = bytes.u32();
  if (dimensions < 1 || dimensions > 4) {
    throw new CheckpointError(bytes.label, `tensor ${name} has ${dimensions} dimensions: the file is corrupt.`);
  }
  const shape = Array.from({ length: dimensions }, () => bytes.u64()).reverse();
  return { name, shape, type: bytes.u32(), offset: bytes.u64() };
}

function placeTensors({ label, at, fileBytes }: HeaderBytes, file: string, infos: TensorInfo[], alignment: unknown) {
  const corrupt = (message: string) => new CheckpointError(label, `${message}: the file is corrupt.`);
  if (typeof alignment !== "number" || !Number.isInteger(Math.log2(alignment)) || alignment > 2 ** 20) {
    throw corrupt(`general.alignment is ${String(alignment)}, not a power of two`);
  }
  const dataStart = Math.ceil(at / alignment) * alignment;
  const names = new Set<string>();
  return infos.map(({ name, shape, type: id, offset }): GgufTensor => {
    if (names.has(name)) throw corrupt(`tensor ${name} is there twice`);
    names.add(name);
    const size = shape.reduce((product, dimension) => product * dimension, 1);
    if (!Number.isSafeInteger(size) || size < 1) throw corrupt(`tensor ${name} is [${shape.join(", ")}]`);
    if (offset % alignment !== 0) throw corrupt(`tensor ${name} begins at ${offset}, no multiple of ${alignment}`);
    const type = BLOCK_TYPES[id];
    if (type && shape.at(-1)! % type.elements !== 0) {
      throw corrupt(`tensor ${name} is ${type.name} in rows of ${shape.at(-1)}, no multiple of ${type.elements}`);
    }
    const from = dataStart + offset;
    const to = type ? from + (size / type.elements) * type.bytes : from;
    if (to > fileBytes) {
      throw new CheckpointError(
        label,
        `tensor ${name} ends at byte ${to}, the file at ${fileBytes}. It is truncated: download it again.`,
      );
    }
    return { name, file, type, typeName: typeName(id), shape, from, to };
  });
}
