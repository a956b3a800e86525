import { entries, get, promisifyRequest, set } from "idb-keyval";
import { type Span, type StoreIndex, storeError, type WeightStore } from "../../stores/weight-store.ts";
import { openTable } from "./indexeddb.ts";

/** Records in IndexedDB, one value each. They work in every thread, and are written whole or not at all. */
export class IndexedDbStore implements WeightStore {
  readonly kind = "indexeddb";
  readonly #table = openTable("records");
  readonly #asBlob: boolean;

  /** `form` is what records are written as; either is read. */
  constructor(form: "buffer" | "blob" = "buffer") {
    this.#asBlob = form === "blob";
  }

  async read(file: string, record: Span, part: Span = record): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const value = await get<ArrayBuffer | Blob>(keyOf(file, record), this.#table.use);
    const [from, to] = [part.from - record.from, part.to - record.from];
    const length = value instanceof Blob ? value.size : (value?.byteLength ?? 0);
    if (!value || length < to) return undefined;
    return value instanceof Blob
      ? new Uint8Array(await value.slice(from, to).arrayBuffer())
      : new Uint8Array(value, from, to - from);
  }

  async write(file: string, record: Span, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const whole = bytes.byteLength === bytes.buffer.byteLength ? bytes.buffer : bytes.slice().buffer;
    const value = this.#asBlob ? new Blob([bytes]) : whole;
    await set(keyOf(file, record), value, this.#table.use).catch((error) => {
      throw storeError(error);
    });
  }

  async flush(): Promise<void> {}

  async remove(file: string): Promise<void> {
    await this.#table.use("readwrite", (table) => {
      table.delete(IDBKeyRange.bound([file], [file, []]));
      return promisifyRequest(table.transaction);
    });
  }

  async close(): Promise<void> {
    this.#table.close();
  }
}

export class IndexedDbIndex implements StoreIndex {
  readonly #table = openTable("index");

  get<T>(key: string): Promise<T | undefined> {
    return get<T>(key, this.#table.use);
  }

  update<T>(key: string, edit: (value: T | undefined) => T | undefined): Promise<void> {
    return this.#table.use(
      "readwrite",
      (table) =>
        new Promise((resolve, reject) => {
          const { transaction } = table;
          transaction.oncomplete = () => resolve();
          transaction.onabort = () => reject(storeError(transaction.error));
          const request = table.get(key);
          request.onsuccess = () => {
            const value = edit(request.result);
            if (value === undefined) table.delete(key);
            else table.put(value, key);
          };
        }),
    );
  }

  entries(): Promise<readonly (readonly [string, unknown])[]> {
    return entries<string, unknown>(this.#table.use);
  }

  async close(): Promise<void> {
    this.#table.close();
  }
}

const keyOf = (file: string, { from }: Span): IDBValidKey => [file, from];
