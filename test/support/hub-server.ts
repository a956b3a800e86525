import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ModelFiles } from "./model-files.ts";

export interface HubServer {
  readonly url: string;
  /** Requests to the Hub and to the store that it redirects to: what was asked, and by whom. */
  readonly log: {
    readonly to: "hub" | "store";
    readonly path: string;
    readonly range?: string;
    readonly token?: string;
  }[];
  /** The commit of `main`. */
  commit: string;
  /** Answers instead of the server where it returns true. */
  intervene?: (request: IncomingMessage, response: ServerResponse, to: "hub" | "store") => boolean;
  close(): Promise<void>;
}

export const COMMIT = "a".repeat(40);

/** Plays the Hub: its API and its links, which lead to a store of another origin that wants a signature and no token. */
export async function startHub(files: ModelFiles, { token }: { token?: string } = {}): Promise<HubServer> {
  const log: HubServer["log"] = [];
  const store = createServer((request, response) => {
    note(request, "store");
    if (hub.intervene?.(request, response, "store")) return;
    const url = new URL(request.url!, "http://store");
    if (url.searchParams.get("signature") !== "valid") return void response.writeHead(403).end();
    sendRange(request, response, bytesOf(files[decodeURIComponent(url.pathname.slice(1))]));
  });
  const api = createServer((request, response) => {
    note(request, "hub");
    if (hub.intervene?.(request, response, "hub")) return;
    if (token !== undefined && request.headers.authorization !== `Bearer ${token}`) {
      return void response.writeHead(401, { "x-error-code": "RepoNotFound" }).end("{}");
    }
    const { pathname } = new URL(request.url!, "http://hub");
    const revision = /^\/api\/models\/owner\/model\/revision\/([^/]+)$/.exec(pathname)?.[1];
    if (revision === "main")
      return sendJson(response, { sha: hub.commit, siblings: Object.entries(files).map(sibling) });
    if (revision !== undefined) return void response.writeHead(404, { "x-error-code": "RevisionNotFound" }).end("{}");
    const name = /^\/owner\/model\/resolve\/[^/]+\/(.+)$/.exec(pathname)?.[1];
    if (name === undefined || !(decodeURIComponent(name) in files)) {
      return void response.writeHead(404, { "x-error-code": "EntryNotFound" }).end();
    }
    // Small files come from the Hub itself.
    const body = bytesOf(files[decodeURIComponent(name)]);
    if (!name.endsWith(".safetensors")) return sendRange(request, response, body);
    response.writeHead(302, { location: `http://127.0.0.1:${portOf(store)}/${name}?signature=valid` }).end();
  });
  const note = (request: IncomingMessage, to: "hub" | "store") => {
    const { range, authorization } = request.headers;
    log.push({ to, path: request.url!, range, token: authorization });
  };
  const hub: HubServer = {
    ...{ url: "", log, commit: COMMIT },
    async close() {
      for (const server of [api, store]) {
        server.closeAllConnections();
        await new Promise((resolve) => server.close(resolve));
      }
    },
  };
  for (const server of [api, store]) await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(hub, { url: `http://127.0.0.1:${portOf(api)}` });
}

const portOf = (server: Server): number => (server.address() as AddressInfo).port;

const bytesOf = (content: string | Uint8Array): Buffer => Buffer.from(content as Uint8Array);

const sibling = ([rfilename, content]: [string, string | Uint8Array]) => {
  const size = bytesOf(content).length;
  return {
    rfilename,
    size,
    blobId: `blob of ${rfilename}`,
    ...(size > 200 && { lfs: { size, sha256: `hash of ${rfilename}` } }),
  };
};

function sendJson(response: ServerResponse, json: unknown): void {
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(json));
}

function sendRange(request: IncomingMessage, response: ServerResponse, body: Buffer): void {
  const match = request.headers.range?.match(/^bytes=(\d+)-(\d+)$/);
  if (!match) return void response.writeHead(200, { "content-length": body.length }).end(body);
  const [from, to] = [Number(match[1]), Math.min(Number(match[2]) + 1, body.length)];
  response.writeHead(206, { "content-range": `bytes ${from}-${to - 1}/${body.length}`, "content-length": to - from });
  response.end(body.subarray(from, to));
}
