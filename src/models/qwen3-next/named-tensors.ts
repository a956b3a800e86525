import { CheckpointError } from "../../errors.ts";
import type { Checkpoint, CheckpointTensor } from "../../weights/checkpoint.ts";
import type { WeightRole, WeightSource } from "../../weights/format.ts";
import { type RowRun, rowSource } from "../../weights/row-source.ts";

/** A checkpoint's tensors below one prefix, with their shapes checked, and a list of those that were asked for. */
export class NamedTensors {
  readonly #used: Set<string>;

  constructor(
    readonly checkpoint: Checkpoint,
    readonly prefix = "",
    used = new Set<string>(),
  ) {
    this.#used = used;
  }

  under(prefix: string): NamedTensors {
    return new NamedTensors(this.checkpoint, this.prefix + prefix, this.#used);
  }

  has(name: string): boolean {
    return this.checkpoint.tensors.has(this.prefix + name);
  }

  /** The tensor of that shape; dimensions of 1 are optional, but for the last. */
  tensor(name: string, shape: readonly number[]): CheckpointTensor {
    const full = this.prefix + name;
    const tensor = this.checkpoint.tensors.get(full);
    if (!tensor) throw this.error(`${full} [${shape}] is missing; the checkpoint is incomplete or of another model.`);
    const essential = (sizes: readonly number[]) => sizes.filter((size) => size !== 1).join();
    if (essential(tensor.shape) !== essential(shape) || tensor.shape.at(-1) !== shape.at(-1)) {
      throw this.error(`${full} is [${tensor.shape}], but by config.json it has to be [${shape}].`);
    }
    if (tensor.problem) throw this.error(tensor.problem);
    this.#used.add(full);
    return tensor;
  }

  /** All of one tensor; dimensions but the last are rows. */
  matrix(name: string, shape: readonly number[], role: WeightRole): WeightSource {
    const tensor = this.tensor(name, shape);
    const count = shape.slice(0, -1).reduce((rows, size) => rows * size, 1);
    return this.gather(name, shape.at(-1)!, [{ tensor, from: 0, count }], role);
  }

  vector(name: string, size: number): WeightSource {
    return this.matrix(name, [size], "vector");
  }

  /** Whole tensors on top of each other, given by name and rows. */
  stack(name: string, columns: number, parts: readonly (readonly [string, number])[], role?: WeightRole): WeightSource {
    const runs = parts.map(([part, count]) => ({ tensor: this.tensor(part, [count, columns]), from: 0, count }));
    return this.gather(name, columns, runs, role);
  }

  /** Rows from here and there. */
  gather(name: string, columns: number, runs: readonly RowRun[], role: WeightRole = "matrix"): WeightSource {
    return rowSource(this.prefix + name, role, columns, runs);
  }

  /** Names below the prefix, without it, that nothing has asked for. */
  unused(): string[] {
    return [...this.checkpoint.tensors.keys()]
      .filter((name) => name.startsWith(this.prefix) && !this.#used.has(name))
      .map((name) => name.slice(this.prefix.length));
  }

  error(message: string): CheckpointError {
    return new CheckpointError(this.checkpoint.label, message);
  }
}
