import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import sirv from "sirv";

export interface StaticServer {
  /** Such as "http://127.0.0.1:8080/". */
  readonly url: string;
  close(): Promise<void>;
}

export interface StaticServerOptions {
  readonly folder: string;
  readonly host: string;
  /** When it is taken, the next free one is used; 0 leaves the choice to the system. */
  readonly port: number;
}

/** Serves the files of a folder over HTTP, by ranges too, and nothing outside it. */
export async function serveFolder({ folder, host, port }: StaticServerOptions): Promise<StaticServer> {
  const files = sirv(folder, {
    etag: true,
    setHeaders: (response, path) => {
      if (path.endsWith(".safetensors")) response.setHeader("Content-Type", "application/octet-stream");
      // Built assets carry a hash of their content in their name; all else is asked for again.
      const hashed = path.startsWith("/assets/");
      response.setHeader("Cache-Control", hashed ? "public, max-age=31536000, immutable" : "no-cache");
    },
  });
  const server = createServer((request, response) =>
    files(request, response, () => {
      response.writeHead(404, { "Content-Type": "text/plain" }).end("There is no such file.\n");
    }),
  );
  await listen(server, host, port);
  const { port: actual } = server.address() as AddressInfo;
  // Every interface has no name that a browser could open.
  const name = ["0.0.0.0", "::"].includes(host) ? "localhost" : host.includes(":") ? `[${host}]` : host;
  return {
    url: `http://${name}:${actual}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function listen(server: Server, host: string, port: number): Promise<void> {
  const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => {
    server.once("error", resolve);
    server.listen(port, host, () => {
      server.off("error", resolve);
      resolve(undefined);
    });
  });
  if (error?.code === "EADDRINUSE" && port < 65535) return listen(server, host, port + 1);
  if (error) throw error;
}
