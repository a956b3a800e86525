import { connect, createServer, type Socket } from "node:net";

export interface Shape {
  /** Milliseconds that bytes take one way. */
  readonly delayMs?: number;
  /** Bits a second, each way. */
  readonly bitsPerSecond?: number;
}

export interface ShapingProxy {
  readonly url: string;
  /** Where it leads. */
  readonly target: string;
  /** From now on it takes another time. */
  reshape(shape: Shape): void;
  /** Breaks all connections, as a network does. */
  kill(): void;
  /** Carries nothing by the connections at hand any more, without a word. */
  mute(): void;
  /** Breaks them, and takes no more. */
  close(): Promise<void>;
}

/** A way to a server that takes its time. */
export async function shapingProxy(target: string, shape: Shape = {}): Promise<ShapingProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const muted = new WeakSet<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ]) {
      sockets.add(from);
      from.setNoDelay(true);
      let freeMs = 0;
      from.on("data", (bytes: Buffer) => {
        if (muted.has(from)) return;
        const { delayMs = 0, bitsPerSecond } = shape;
        const now = performance.now();
        freeMs = Math.max(freeMs, now) + (bitsPerSecond ? (8000 * bytes.length) / bitsPerSecond : 0);
        const wait = freeMs + delayMs - now;
        const send = () => to.destroyed || to.write(bytes);
        if (wait > 0.5) setTimeout(send, wait);
        else send();
      });
      from.on("error", () => {});
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const kill = () => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    target,
    reshape: (next) => {
      shape = next;
    },
    kill,
    mute: () => {
      for (const socket of sockets) muted.add(socket);
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        kill();
      }),
  };
}
