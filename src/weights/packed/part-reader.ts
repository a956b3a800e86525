import { CheckpointError } from "../../errors.ts";
import type { FileSource } from "../checkpoint.ts";
import { ALIGNMENT, type HashedRange, REMEDY } from "./manifest.ts";
import { sha256 } from "./sha256.ts";

interface Wanted {
  readonly range: HashedRange;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (part: Part) => void;
  readonly reject: (error: unknown) => void;
}

export interface Part {
  readonly bytes: Uint8Array;
  /** The bytes are not needed any more, and will change. */
  readonly release: () => void;
}

/**
 * Reads parts of shards and checks each against its hash when it is read first. Parts that are asked for in one turn and
 * lie one after the other, as the two of an expert do, come with one ranged read.
 */
export class PartReader {
  readonly #files: FileSource;
  readonly #verified = new Set<string>();
  #wanted: Wanted[] = [];

  constructor(files: FileSource) {
    this.#files = files;
  }

  read(range: HashedRange, signal?: AbortSignal): Promise<Part> {
    return new Promise((resolve, reject) => {
      this.#wanted.push({ range, signal, resolve, reject });
      if (this.#wanted.length === 1) queueMicrotask(() => this.#flush());
    });
  }

  #flush(): void {
    const wanted = this.#wanted.sort(({ range: a }, { range: b }) =>
      a.file < b.file ? -1 : a.file > b.file ? 1 : a.from - b.from,
    );
    this.#wanted = [];
    let run: Wanted[] = [];
    for (const part of wanted) {
      if (run.length > 0 && !isNext(run, part)) {
        void this.#fetch(run);
        run = [];
      }
      run.push(part);
    }
    void this.#fetch(run);
  }

  async #fetch(run: readonly Wanted[]): Promise<void> {
    const { range: first, signal } = run[0];
    try {
      const bytes = await this.#files.read(first.file, { from: first.from, to: run.at(-1)!.range.to }, signal);
      let held = run.length;
      const release = () => {
        held--;
        if (held === 0) this.#files.recycle?.(bytes);
      };
      await Promise.all(
        run.map(async ({ range, resolve }) => {
          const part = bytes.subarray(range.from - first.from, range.to - first.from);
          await this.#verify(range, part);
          resolve({ bytes: part, release });
        }),
      );
    } catch (error) {
      for (const { reject } of run) reject(error);
    }
  }

  async #verify(range: HashedRange, bytes: Uint8Array): Promise<void> {
    const key = `${range.from} ${range.file}`;
    if (this.#verified.has(key)) return;
    await verify(this.#files.label, range, bytes);
    this.#verified.add(key);
  }
}

/** Fails with `CheckpointError` where bytes are not those that the manifest speaks of. */
export async function verify(label: string, { file, from, to, sha256: expected }: HashedRange, bytes: Uint8Array) {
  if ((await sha256(bytes)) === expected) return;
  const message = `bytes ${from} to ${to} are not those that were packed: the file is damaged. ${REMEDY}`;
  throw new CheckpointError(`${label}/${file}`, message);
}

/** Runs stay short: longer ones would make those wait who need the beginning only. */
const RUN_PARTS = 2;

function isNext(run: readonly Wanted[], { range, signal }: Wanted): boolean {
  const last = run.at(-1)!;
  const gap = range.from - last.range.to;
  const isNear = range.file === last.range.file && gap >= 0 && gap < ALIGNMENT;
  return isNear && signal === last.signal && run.length < RUN_PARTS;
}
