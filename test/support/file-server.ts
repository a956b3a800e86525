import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** Bytes by path without the leading slash. */
export type ServedFiles = Record<string, Uint8Array | string>;

export interface FileServer {
  readonly url: string;
  /** What was asked for, such as "GET model/a.bin bytes=0-9"; a test may clear it. */
  readonly log: string[];
  /** May be replaced while it serves; an ETag is made of the content. */
  files: ServedFiles;
  /** Called before each answer; `true` says that it has answered, or broken, the request itself. */
  onRequest: (request: IncomingMessage, response: ServerResponse, nth: number) => boolean;
  close(): Promise<void>;
}

/** A static file server with ranges, validators and CORS, which a test may break. */
export async function serveFiles(files: ServedFiles): Promise<FileServer> {
  const http = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url!, "http://h").pathname.slice(1));
    server.log.push(`${request.method} ${path} ${request.headers.range ?? "all"}`);
    if (!server.onRequest(request, response, server.log.length - 1)) answer(server.files[path], request, response);
  });
  const server: FileServer = {
    url: "",
    log: [],
    files,
    onRequest: () => false,
    close: () => {
      http.closeAllConnections();
      return new Promise((resolve) => http.close(() => resolve()));
    },
  };
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return Object.assign(server, { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}` });
}

function answer(content: Uint8Array | string | undefined, request: IncomingMessage, response: ServerResponse): void {
  response.setHeader("access-control-allow-origin", "*");
  response.setHeader("access-control-expose-headers", "etag, content-range, content-length");
  response.setHeader("access-control-allow-headers", "range");
  response.setHeader("cache-control", "no-store");
  if (request.method === "OPTIONS") return void response.writeHead(204).end();
  if (content === undefined) return void response.writeHead(404).end();
  const body =
    typeof content === "string"
      ? Buffer.from(content)
      : Buffer.from(content.buffer, content.byteOffset, content.byteLength);
  response.setHeader("etag", `"${checksum(body)}"`);
  const match = request.headers.range?.match(/^bytes=(\d+)-(\d+)$/);
  if (!match) return void response.writeHead(200, { "content-length": body.length }).end(body);
  const [from, to] = [Number(match[1]), Math.min(Number(match[2]) + 1, body.length)];
  if (from >= body.length) return void response.writeHead(416, { "content-range": `bytes */${body.length}` }).end();
  response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${body.length}`, "content-length": to - from });
  response.end(body.subarray(from, to));
}

/** FNV-1a over a sample of the bytes, quick for large files. */
function checksum(bytes: Uint8Array): string {
  let hash = 0x811c9dc5 ^ bytes.length;
  const step = Math.max(1, bytes.length >> 16);
  for (let i = 0; i < bytes.length; i += step) hash = Math.imul(hash ^ bytes[i], 0x01000193);
  return (hash >>> 0).toString(16);
}
