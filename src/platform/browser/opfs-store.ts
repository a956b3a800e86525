import { type Span, StoreError, storeError, type WeightStore } from "../../stores/weight-store.ts";
import { FOLDER, OpfsPort } from "./opfs-port.ts";

/**
 * Records in the origin's private file system: a file for each of the model's, read and written by workers through handles
 * that stay open. The first worker writes; all read, in turn.
 */
export class OpfsStore implements WeightStore {
  readonly kind = "opfs";
  readonly #ports: readonly OpfsPort[];
  #turn = 0;

  private constructor(ports: readonly OpfsPort[]) {
    this.#ports = ports;
  }

  /** Fails with `StoreError` where the browser has no such file system, as in some private windows. */
  static async open(readers: number): Promise<OpfsStore> {
    try {
      await folder();
    } catch (cause) {
      const { message } = cause as Error;
      throw new StoreError(`there is no private file system here: ${message}`, { cause });
    }
    return new OpfsStore(Array.from({ length: readers }, () => new OpfsPort()));
  }

  read(file: string, _: Span, { from, to }: Span = _): Promise<Uint8Array<ArrayBuffer> | undefined> {
    this.#turn = (this.#turn + 1) % this.#ports.length;
    return this.#ports[this.#turn].call({ kind: "read", file, from, to });
  }

  async write(file: string, { from }: Span, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    await this.#ports[0].call({ kind: "write", file, from, bytes }).catch((error) => {
      throw storeError(error);
    });
  }

  async flush(file: string): Promise<void> {
    await this.#ports[0].call({ kind: "flush", file });
  }

  /** Fails with `StoreError` where another tab has the file open. */
  async remove(file: string): Promise<void> {
    await Promise.all(this.#ports.map((port) => port.call({ kind: "close", file })));
    try {
      await (await folder()).removeEntry(file);
    } catch (error) {
      if ((error as Error).name !== "NotFoundError") throw storeError(error);
    }
  }

  async close(): Promise<void> {
    for (const port of this.#ports) port.close();
  }
}

async function folder(): Promise<FileSystemDirectoryHandle> {
  return (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER, { create: true });
}
