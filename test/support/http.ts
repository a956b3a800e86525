/** Asks a server as any client does, over its socket. */
export interface Client {
  readonly url: string;
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
  get(path: string, init?: RequestInit): Promise<Response>;
  json(path: string, body: unknown): Promise<unknown>;
  /** The data of a stream's events, `[DONE]` included. */
  stream(path: string, body: object): Promise<string[]>;
}

export function client(url: string): Client {
  const post = (path: string, body: unknown, init: RequestInit = {}) =>
    fetch(url + path, {
      method: "POST",
      body: typeof body === "string" ? body : JSON.stringify(body),
      ...init,
      headers: { "Content-Type": "application/json", ...init.headers },
    });
  return {
    url,
    post,
    get: (path, init) => fetch(url + path, init),
    async json(path, body) {
      const reply = await post(path, body);
      const text = await reply.text();
      if (!reply.ok) throw new Error(`${path} answered ${reply.status}: ${text}`);
      return JSON.parse(text);
    },
    async stream(path, body) {
      const reply = await post(path, { ...body, stream: true });
      return dataOf(await reply.text());
    },
  };
}

/** The data of server-sent events; comments are left out. */
export const dataOf = (text: string): string[] =>
  text
    .split("\n\n")
    .map((frame) => frame.split("\n").find((line) => line.startsWith("data: ")))
    .filter((line) => line !== undefined)
    .map((line) => line.slice(6));

/** The events before `[DONE]`, of which there must be one. */
export function jsonEvents(data: readonly string[]): unknown[] {
  if (data.at(-1) !== "[DONE]") throw new Error(`the stream ends with ${data.at(-1)}`);
  return data.slice(0, -1).map((text) => JSON.parse(text));
}
