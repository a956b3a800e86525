import { Worker } from "node:worker_threads";
import type { ByteRange, HashedBytes } from "../../weights/checkpoint.ts";

/** Ranges of a file, and where in `memory` each goes. */
export interface ReadTask {
  readonly id: number;
  readonly path: string;
  readonly ranges: readonly (ByteRange & { readonly at: number })[];
  readonly memory: ArrayBuffer;
}

/** The memory again, and SHA-256 of each range; no hashes where something failed. */
export interface ReadAnswer {
  readonly id: number;
  readonly memory: ArrayBuffer;
  readonly hashes?: readonly string[];
}

interface Thread {
  readonly worker: Worker;
  readonly pending: Map<number, (answer?: ReadAnswer) => void>;
}

/** Memory of one task. It wanders between threads and is used again: new pages cost more than reading into them. */
const MEMORY_BYTES = 8 * 2 ** 20;
/** Pieces of memory that are kept: as many as a loader has under way. */
const SPARE = 16;
/** Without work for so long, threads end and memory goes. */
const IDLE_MS = 1000;
const ALIGNMENT = 256;

/** Threads that read files and hash what they have read. They start when there is work and keep no process from ending. */
export class ReadThreads {
  readonly #script: string;
  readonly #count: number;
  readonly #threads = new Set<Thread>();
  readonly #spare: ArrayBuffer[] = [];
  #nextId = 0;
  #idle: NodeJS.Timeout | undefined;

  constructor(script: string, count: number) {
    this.#script = script;
    this.#count = count;
  }

  /** Undefined where a thread could not read it all, for whatever reason, or has ended. */
  async read(path: string, ranges: readonly ByteRange[]): Promise<HashedBytes | undefined> {
    let size = 0;
    const placed = ranges.map(({ from, to }) => {
      const at = size;
      size = Math.ceil((at + to - from) / ALIGNMENT) * ALIGNMENT;
      return { from, to, at };
    });
    const spare = size <= MEMORY_BYTES ? this.#spare.pop() : undefined;
    const answer = await this.#ask(path, placed, spare ?? new ArrayBuffer(Math.max(size, MEMORY_BYTES)));
    if (!answer) return undefined;
    const { memory, hashes } = answer;
    const release = () => {
      if (this.#threads.size > 0 && this.#spare.length < SPARE && memory.byteLength === MEMORY_BYTES) {
        this.#spare.push(memory);
      }
    };
    if (hashes) {
      const bytes = placed.map(({ from, to, at }) => new Uint8Array(memory, at, to - from));
      return { parts: bytes.map((bytes, i) => ({ bytes, sha256: hashes[i] })), release };
    }
    release();
    return undefined;
  }

  /** Ends all threads; what they were at is given up. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    this.#spare.length = 0;
    const threads = [...this.#threads];
    this.#threads.clear();
    await Promise.all(threads.map(({ worker }) => worker.terminate()));
  }

  #ask(path: string, ranges: ReadTask["ranges"], memory: ArrayBuffer): Promise<ReadAnswer | undefined> {
    const { worker, pending } = this.#leastBusy();
    const task: ReadTask = { id: this.#nextId++, path, ranges, memory };
    return new Promise((resolve) => {
      pending.set(task.id, resolve);
      worker.ref();
      worker.postMessage(task, [memory]);
    });
  }

  #leastBusy(): Thread {
    const [thread] = [...this.#threads].sort((a, b) => a.pending.size - b.pending.size);
    if (thread && (thread.pending.size === 0 || this.#threads.size === this.#count)) return thread;
    return this.#start();
  }

  #start(): Thread {
    const thread: Thread = { worker: new Worker(this.#script), pending: new Map() };
    const { worker, pending } = thread;
    worker.on("message", (answer: ReadAnswer) => {
      const settle = pending.get(answer.id);
      pending.delete(answer.id);
      if (pending.size === 0) worker.unref();
      this.#watchIdle();
      settle?.(answer);
    });
    // It ends then, which whoever waits for it is told.
    worker.on("error", () => {});
    worker.on("exit", () => {
      this.#threads.delete(thread);
      for (const settle of pending.values()) settle();
    });
    this.#threads.add(thread);
    return thread;
  }

  #watchIdle(): void {
    if (this.#idle) this.#idle.refresh();
    else {
      this.#idle = setTimeout(() => {
        if ([...this.#threads].every(({ pending }) => pending.size === 0)) void this.close();
        else this.#idle?.refresh();
      }, IDLE_MS).unref();
    }
  }
}
