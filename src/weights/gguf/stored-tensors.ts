import { CheckpointError, invariant } from "../../errors.ts";
import type { CheckpointTensor, FileSource } from "../checkpoint.ts";
import { decodeRows } from "../decode.ts";
import { bytesOf } from "../views.ts";
import { supportedTypes, unpackBlocks } from "./block-types.ts";
import type { GgufTensor } from "./header.ts";
import { rowsOf } from "./reshape.ts";

type Tensors = ReadonlyMap<string, CheckpointTensor>;

/** Tensors as they lie in their files. Fails with `CheckpointError` for a type that Sluice does not read. */
export function storedTensors(files: FileSource, tensors: readonly GgufTensor[]): Tensors {
  const stored = new Map(tensors.map((tensor) => [tensor.name, storedTensor(files, tensor)]));
  return withFactors(stored);
}

function storedTensor(
  files: FileSource,
  { name, file, type, typeName, shape, from, to }: GgufTensor,
): CheckpointTensor {
  if (!type) {
    const types = supportedTypes().join(", ");
    const message = `tensor ${name} is ${typeName}; Sluice reads ${types}. Choose a file in these, such as a Q4_K_M.`;
    throw new CheckpointError(`${files.label}/${file}`, message);
  }
  const columns = shape.at(-1)!;
  const rowBytes = (columns / type.elements) * type.bytes;
  const tensor: CheckpointTensor = {
    name,
    shape,
    format: type.format,
    auto: type.auto,
    ...(type.unpack && { type: type.name }),
    sizeBytes: to - from,
    async read(first, end, signal) {
      invariant(0 <= first && first <= end && end <= rowsOf(tensor), `rows [${first}, ${end}) of ${name} [${shape}]`);
      const range = { from: from + first * rowBytes, to: from + end * rowBytes };
      return unpackBlocks(type, await files.read(file, range, signal), columns);
    },
  };
  return tensor;
}

/**
 * Multiplies `x.weight` by `x.scale`: files in NVFP4 may keep one factor for a matrix, or for each expert, in a tensor
 * beside it. An `x.input_scale` is for whoever quantises activations.
 */
function withFactors(stored: Tensors): Tensors {
  const weights = [...stored].filter(([name]) => !name.endsWith("scale"));
  return new Map(
    weights.map(([name, tensor]) => {
      const factors = stored.get(name.replace(/(\.weight|)$/, ".scale")) ?? stored.get(`${name}.scale`);
      return [name, factors ? scaledTensor(tensor, factors) : tensor];
    }),
  );
}

function scaledTensor(tensor: CheckpointTensor, factors: CheckpointTensor): CheckpointTensor {
  const rowsOfFactor = rowsOf(tensor) / factors.shape.at(-1)!;
  return {
    ...tensor,
    format: "f32",
    auto: tensor.auto ?? tensor.format,
    async read(from, to, signal) {
      const [rows, factor] = await Promise.all([tensor.read(from, to, signal), factors.read(0, 1, signal)]);
      const { columns } = rows;
      const values = decodeRows(rows);
      const factorOf = decodeRows(factor);
      for (let i = 0; i < values.length; i++) {
        values[i] *= factorOf[Math.floor((from + Math.floor(i / columns)) / rowsOfFactor)];
      }
      return { format: "f32", rows: rows.rows, columns, data: bytesOf(values) };
    },
  };
}
