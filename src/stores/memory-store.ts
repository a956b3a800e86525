import type { Span, StoreIndex, WeightStore } from "./weight-store.ts";

/** Records in memory: they live as long as the program. */
export class MemoryStore implements WeightStore {
  readonly kind = "memory";
  readonly #files = new Map<string, Map<number, Uint8Array<ArrayBuffer>>>();

  async read(file: string, record: Span, part: Span = record): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const bytes = this.#files.get(file)?.get(record.from);
    return bytes?.slice(part.from - record.from, part.to - record.from);
  }

  async write(file: string, { from }: Span, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const records = this.#files.get(file) ?? new Map();
    this.#files.set(file, records.set(from, bytes.slice()));
  }

  async flush(): Promise<void> {}

  async remove(file: string): Promise<void> {
    this.#files.delete(file);
  }

  async close(): Promise<void> {
    this.#files.clear();
  }
}

export class MemoryIndex implements StoreIndex {
  readonly #values = new Map<string, unknown>();

  async get<T>(key: string): Promise<T | undefined> {
    return this.#values.get(key) as T | undefined;
  }

  async update<T>(key: string, edit: (value: T | undefined) => T | undefined): Promise<void> {
    const value = edit(this.#values.get(key) as T | undefined);
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
  }

  async entries(): Promise<readonly (readonly [string, unknown])[]> {
    return [...this.#values];
  }

  async close(): Promise<void> {}
}
