import { CheckpointError, invariant } from "../../errors.ts";
import type { CheckpointTensor, FileSource } from "../checkpoint.ts";
import type { WeightRows } from "../format.ts";
import type { StoredTensor } from "../safetensors.ts";
import type { Formats } from "./affine.ts";

/** The stored tensors whose names begin alike and which together hold one matrix. */
export class Parts {
  readonly files: FileSource;
  readonly prefix: string;
  readonly #stored: ReadonlyMap<string, StoredTensor>;
  readonly #used = new Map<string, StoredTensor>();

  constructor(files: FileSource, stored: ReadonlyMap<string, StoredTensor>, prefix: string) {
    this.files = files;
    this.prefix = prefix;
    this.#stored = stored;
  }

  /** Names of the parts that were asked for. */
  get used(): Iterable<string> {
    return this.#used.keys();
  }

  find(suffix: string): StoredTensor | undefined {
    const name = this.prefix + suffix;
    const tensor = this.#stored.get(name);
    if (tensor) this.#used.set(name, tensor);
    return tensor;
  }

  /** Fails with `CheckpointError` where it is missing, or of other types or another shape than expected. */
  get(suffix: string, dtypes: readonly string[], shape?: readonly number[]): StoredTensor {
    const tensor = this.find(suffix);
    if (!tensor) throw this.error(`${this.prefix}${suffix} is missing. The checkpoint is incomplete.`);
    if (!dtypes.includes(tensor.dtype) || (shape && tensor.shape.join() !== shape.join())) {
      const expected = `${dtypes.join(" or ")}${shape ? ` [${shape.join(", ")}]` : ""}`;
      throw this.error(`${tensor.name} is ${tensor.dtype} [${tensor.shape.join(", ")}], not ${expected}.`);
    }
    return tensor;
  }

  error(message: string): CheckpointError {
    return new CheckpointError(this.files.label, message);
  }

  /** A tensor of these parts. `read` is called with rows that are there. */
  tensor(name: string, shape: readonly number[], formats: Formats, read: CheckpointTensor["read"]): CheckpointTensor {
    const rows = rowCount(shape);
    return {
      name,
      shape,
      ...formats,
      sizeBytes: [...this.#used.values()].reduce((sum, { from, to }) => sum + to - from, 0),
      async read(from, to, signal): Promise<WeightRows> {
        invariant(0 <= from && from <= to && to <= rows, `rows [${from}, ${to}) of ${name}, which has ${rows}`);
        return read(from, to, signal);
      },
    };
  }

  /** The bytes of the rows [from, to), all dimensions but the last being rows. */
  rows({ file, shape, ...stored }: StoredTensor, from: number, to: number, signal?: AbortSignal): Promise<Uint8Array> {
    const rowBytes = (stored.to - stored.from) / Math.max(1, rowCount(shape));
    return this.files.read(file, { from: stored.from + from * rowBytes, to: stored.from + to * rowBytes }, signal);
  }
}

/** All dimensions but the last are rows; a vector is one row. */
export const rowCount = (shape: readonly number[]): number => shape.slice(0, -1).reduce((rows, size) => rows * size, 1);
