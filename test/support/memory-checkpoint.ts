import type { TensorShapes } from "../../src/models/qwen3-next/tensor-shapes.ts";
import type { Checkpoint, CheckpointTensor } from "../../src/weights/checkpoint.ts";
import { encodeRows } from "../../src/weights/convert.ts";
import { dataBytes, scaleBytes, type WeightFormat, type WeightRows } from "../../src/weights/format.ts";
import { normals } from "./random.ts";

export interface MemoryCheckpoint extends Checkpoint {
  /** Every read so far. */
  readonly reads: { readonly name: string; readonly from: number; readonly to: number }[];
}

/** A checkpoint that exists in memory only, and remembers how it was read. Numbers are made up (the same for the same name) unless given. */
export function memoryCheckpoint(
  config: Readonly<Record<string, unknown>>,
  shapes: TensorShapes,
  options: {
    readonly values?: ReadonlyMap<string, Float32Array>;
    readonly format?: (name: string) => WeightFormat;
  } = {},
): MemoryCheckpoint {
  const reads: MemoryCheckpoint["reads"] = [];
  const tensors = new Map<string, CheckpointTensor>();
  for (const [name, shape] of shapes) {
    const format = options.format?.(name) ?? "f32";
    const columns = shape.at(-1)!;
    const size = shape.reduce((a, b) => a * b, 1);
    let encoded: WeightRows | undefined;
    tensors.set(name, {
      name,
      shape,
      format,
      sizeBytes: dataBytes(format, size) + scaleBytes(format, size),
      async read(from, to) {
        reads.push({ name, from, to });
        encoded ??= encodeRows(options.values?.get(name) ?? madeUp(name, size), columns, format, name);
        return slice(encoded, from, to);
      },
    });
  }
  return {
    label: "memory",
    config,
    generationConfig: {},
    tensors,
    sizeBytes: 0,
    reads,
    close: async () => {},
  };
}

/** Numbers of a size at which layers neither vanish nor explode, seeded by the name. */
export function madeUp(name: string, size: number): Float32Array<ArrayBuffer> {
  let seed = 0;
  for (const letter of name) seed = (Math.imul(seed, 31) + letter.charCodeAt(0)) | 0;
  return normals(size, seed, 0.1);
}

function slice({ format, columns, data, scales }: WeightRows, from: number, to: number): WeightRows {
  const rows = (plane: Uint8Array, bytes: number) => plane.slice(from * bytes, to * bytes);
  return {
    format,
    columns,
    rows: to - from,
    data: rows(data, dataBytes(format, columns)),
    scales: scales && rows(scales, scaleBytes(format, columns)),
  };
}
