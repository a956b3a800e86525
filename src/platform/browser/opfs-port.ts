/** Where models lie in the origin's private file system. */
export const FOLDER = "sluice";

type Call =
  | { readonly kind: "read"; readonly file: string; readonly from: number; readonly to: number }
  | { readonly kind: "write"; readonly file: string; readonly from: number; readonly bytes: Uint8Array<ArrayBuffer> }
  | { readonly kind: "flush" | "close"; readonly file: string };

export type OpfsRequest = Call & { readonly id: number };

export interface OpfsReply {
  readonly id: number;
  readonly bytes?: Uint8Array<ArrayBuffer>;
  readonly error?: { readonly name: string; readonly message: string };
}

/** The page's end of an `opfs-worker`. */
export class OpfsPort {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, PromiseWithResolvers<Uint8Array<ArrayBuffer> | undefined>>();
  #nextId = 0;

  constructor() {
    this.#worker = new Worker(new URL("./opfs-worker.ts", import.meta.url), { type: "module", name: "sluice-store" });
    this.#worker.addEventListener("message", ({ data }: MessageEvent<OpfsReply>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.error) waiting?.reject(new DOMException(data.error.message, data.error.name));
      else waiting?.resolve(data.bytes);
    });
    this.#worker.addEventListener("error", ({ message }) => this.#fail(message || "its worker could not be started"));
  }

  call(call: Call): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const id = this.#nextId++;
    const reply = deferred<Uint8Array<ArrayBuffer> | undefined>();
    this.#waiting.set(id, reply);
    this.#worker.postMessage({ ...call, id });
    return reply.promise;
  }

  close(): void {
    this.#worker.terminate();
    this.#fail("it was closed");
  }

  #fail(reason: string): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new Error(`the private file system failed: ${reason}`));
  }
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

function deferred<T>(): PromiseWithResolvers<T> {
  let resolve!: (value: T) => void;
  let reject!: (reason: unknown) => void;
  const promise = new Promise<T>((...ends) => {
    [resolve, reject] = ends;
  });
  return { promise, resolve, reject };
}
