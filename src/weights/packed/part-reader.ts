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
    const isHashed = ({ range }: Wanted) => this.#files.readHashed !== undefined && !this.#verified.has(keyOf(range));
    for (const run of runsOf(wanted.filter(isHashed), isTogether)) void this.#settle(run, this.#fetchHashed(run));
    const others = wanted.filter((part) => !isHashed(part));
    for (const run of runsOf(others, isNext)) void this.#settle(run, this.#fetch(run));
  }

  async #settle(run: readonly Wanted[], fetched: Promise<readonly Part[]>): Promise<void> {
    try {
      const parts = await fetched;
      for (const [i, { resolve }] of run.entries()) resolve(parts[i]);
    } catch (error) {
      for (const { reject } of run) reject(error);
    }
  }

  async #fetch(run: readonly Wanted[]): Promise<Part[]> {
    const { range: first, signal } = run[0];
    const bytes = await this.#files.read(first.file, { from: first.from, to: run.at(-1)!.range.to }, signal);
    const release = afterAll(run.length, () => this.#files.recycle?.(bytes));
    const parts = run.map(({ range }) => ({
      bytes: bytes.subarray(range.from - first.from, range.to - first.from),
      release,
    }));
    await Promise.all(run.map(({ range }, i) => this.#verify(range, parts[i].bytes)));
    return parts;
  }

  async #fetchHashed(run: readonly Wanted[]): Promise<Part[]> {
    const ranges = run.map(({ range }) => range);
    const { parts, release } = await this.#files.readHashed!(ranges[0].file, ranges, run[0].signal);
    for (const [i, range] of ranges.entries()) {
      if (parts[i].sha256 !== range.sha256) throw damaged(this.#files.label, range);
      this.#verified.add(keyOf(range));
    }
    const releaseOne = afterAll(run.length, release);
    return parts.map(({ bytes }) => ({ bytes, release: releaseOne }));
  }

  async #verify(range: HashedRange, bytes: Uint8Array): Promise<void> {
    if (this.#verified.has(keyOf(range))) return;
    await verify(this.#files.label, range, bytes);
    this.#verified.add(keyOf(range));
  }
}

/** Fails with `CheckpointError` where bytes are not those that the manifest speaks of. */
export async function verify(label: string, range: HashedRange, bytes: Uint8Array) {
  if ((await sha256(bytes)) !== range.sha256) throw damaged(label, range);
}

const damaged = (label: string, { file, from, to }: HashedRange) =>
  new CheckpointError(
    `${label}/${file}`,
    `bytes ${from} to ${to} are not those that were packed: the file is damaged. ${REMEDY}`,
  );

const keyOf = ({ file, from }: HashedRange): string => `${from} ${file}`;

function afterAll(count: number, release: () => void): () => void {
  let held = count;
  return () => {
    held--;
    if (held === 0) release();
  };
}

type Follows = (run: readonly Wanted[], part: Wanted) => boolean;

function runsOf(wanted: readonly Wanted[], follows: Follows): Wanted[][] {
  const runs: Wanted[][] = [];
  for (const part of wanted) {
    const run = runs.at(-1);
    if (run && part.signal === run[0].signal && part.range.file === run[0].range.file && follows(run, part))
      run.push(part);
    else runs.push([part]);
  }
  return runs;
}

/** Runs stay short: longer ones would make those wait who need the beginning only. */
const RUN_PARTS = 2;

const isNext: Follows = (run, { range }) => {
  const gap = range.from - run.at(-1)!.range.to;
  return gap >= 0 && gap < ALIGNMENT && run.length < RUN_PARTS;
};

/** What a thread reads and hashes at once, wherever in the file it lies. */
export const TURN_BYTES = 8e6;

const isTogether: Follows = (run, { range }) =>
  [...run.map(({ range }) => range), range].reduce((sum, { from, to }) => sum + to - from, 0) <= TURN_BYTES;
