import { createServer, type Socket } from "node:net";
import { deserialize, serialize } from "node:v8";

/** Values between two processes over a stream, in their order: four bytes of length, then the value as `v8` writes it. */
export class SocketLink {
  readonly #socket: Socket;
  readonly #parts: Buffer[] = [];
  #bytes = 0;
  /** Bytes of the value that is coming; undefined before its length has come. */
  #expected: number | undefined;

  constructor(socket: Socket, onMessage: (value: never) => void, onEnd: (reason: string) => void) {
    this.#socket = socket;
    socket.on("data", (data) => {
      this.#parts.push(data);
      this.#bytes += data.length;
      for (let value = this.#next(); value; value = this.#next()) onMessage(deserialize(value) as never);
    });
    socket.on("error", () => {});
    socket.on("close", () => onEnd("the link was cut"));
  }

  send(value: unknown): void {
    const bytes = serialize(value);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    this.#socket.cork();
    this.#socket.write(length);
    this.#socket.write(bytes);
    this.#socket.uncork();
  }

  close(): void {
    this.#socket.destroy();
  }

  #next(): Buffer | undefined {
    if (this.#expected === undefined) {
      if (this.#bytes < 4) return undefined;
      this.#expected = this.#take(4).readUInt32LE();
    }
    if (this.#bytes < this.#expected) return undefined;
    const value = this.#take(this.#expected);
    this.#expected = undefined;
    return value;
  }

  #take(count: number): Buffer {
    const all = this.#parts.length === 1 ? this.#parts[0] : Buffer.concat(this.#parts);
    const rest = all.subarray(count);
    this.#parts.length = 0;
    if (rest.length > 0) this.#parts.push(rest);
    this.#bytes = rest.length;
    return all.subarray(0, count);
  }
}

/** Waits at a path for one connection. Resolves when it waits. */
export function listenOnce(path: string): Promise<{ readonly socket: Promise<Socket>; close(): void }> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    const socket = new Promise<Socket>((connected) => {
      server.once("connection", (socket) => {
        server.close();
        connected(socket);
      });
    });
    server.once("error", reject);
    server.listen(path, () => resolve({ socket, close: () => server.close() }));
  });
}
