import { CheckpointError } from "../errors.ts";
import type { FileSource } from "./checkpoint.ts";
import { type ByteRange, fetchLength, fetchRange, type HttpOptions, type RangeReply } from "./fetch-range.ts";
import { readAhead } from "./read-ahead.ts";

/** Files that a server sends only whole are kept up to this size; larger ones need Range requests. */
const MAX_WHOLE_BYTES = 64 * 2 ** 20;

/**
 * A model's folder on a web server; `base` is its absolute URL, or that of a `.gguf` in it. A query string, as of signed links,
 * is kept for every file. Small neighbouring reads share a request.
 */
export const httpSource = (base: string | URL, options?: HttpOptions): FileSource =>
  readAhead(new HttpSource(base, options));

class HttpSource implements FileSource {
  readonly label: string;
  readonly file?: string;
  readonly #base: URL;
  readonly #folder: string;
  readonly #options: HttpOptions;
  readonly #sizes = new Map<string, number>();
  readonly #versions = new Map<string, string>();
  /** Files of a server without Range. */
  readonly #whole = new Map<string, Uint8Array<ArrayBuffer>>();

  constructor(base: string | URL, options: HttpOptions = {}) {
    if (!URL.canParse(base)) throw new CheckpointError(String(base), "this is not an absolute URL.");
    this.#base = new URL(base);
    const [, folder, file] = /^(.*?)(?:\/+|\/([^/]+\.gguf))?$/i.exec(this.#base.pathname)!;
    this.#folder = folder;
    this.file = file && decodeURIComponent(file);
    this.#options = options;
    // Without the query string, which may hold a secret.
    this.label = `${this.#base.origin}${this.#folder}`;
  }

  async size(name: string, signal?: AbortSignal): Promise<number | undefined> {
    const known = this.#sizes.get(name);
    if (known !== undefined) return known;
    // Two bytes: some servers (sirv, and so Vite) answer `bytes=0-0` with the whole file.
    const reply = await this.#fetch(name, { from: 0, to: 2 }, signal);
    if (reply.kind === "missing") return undefined;
    const size = reply.totalBytes ?? (await this.#length(name, signal));
    this.#sizes.set(name, size);
    return size;
  }

  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    if (range && range.from === range.to) return new Uint8Array(0);
    const bytes = this.#whole.get(name);
    if (bytes) return this.#cut(name, bytes, range);
    const reply = await this.#fetch(name, range, signal);
    switch (reply.kind) {
      case "part":
        return reply.bytes;
      case "whole":
        return this.#cut(name, reply.bytes, range);
      case "missing":
        throw this.#failure(name, "there is no such file on the server.");
      case "tooLarge":
        throw this.#failure(
          name,
          "the server ignores Range requests, and would send the whole file for each part of it. " +
            "Serve the model from a server that answers them with 206 (nginx, a CDN, or Vite do).",
        );
    }
  }

  /** The ETag, or else the date of the file; undefined where the server tells neither. */
  async version(name: string, signal?: AbortSignal): Promise<string | undefined> {
    await this.size(name, signal);
    return this.#versions.get(name);
  }

  async close(): Promise<void> {
    this.#whole.clear();
  }

  async #fetch(name: string, range?: ByteRange, signal?: AbortSignal): Promise<RangeReply> {
    const label = `${this.label}/${name}`;
    const url = this.#url(name);
    const reply = await fetchRange({
      ...{ url, label, range, maxWholeBytes: MAX_WHOLE_BYTES, options: this.#options, signal },
    });
    const before = this.#versions.get(name);
    if (reply.version !== undefined) this.#versions.set(name, reply.version);
    if (before !== undefined && reply.version !== undefined && before !== reply.version) {
      this.#sizes.delete(name);
      throw this.#failure(name, "the file changed on the server while it was read. Load the model again.");
    }
    if (range && reply.kind === "whole") this.#whole.set(name, reply.bytes);
    return reply;
  }

  async #length(name: string, signal?: AbortSignal): Promise<number> {
    const length = await fetchLength({
      ...{ url: this.#url(name), label: `${this.label}/${name}`, options: this.#options, signal },
    });
    if (length !== undefined) return length;
    throw this.#failure(name, "the server does not tell its size. Let it expose the Content-Range header.");
  }

  #cut(name: string, bytes: Uint8Array<ArrayBuffer>, range?: ByteRange): Uint8Array<ArrayBuffer> {
    if (!range) return bytes.slice();
    if (range.to <= bytes.length) return bytes.slice(range.from, range.to);
    throw this.#failure(name, `the file ends at byte ${bytes.length}; bytes up to ${range.to} were asked for.`);
  }

  #url(name: string): URL {
    const url = new URL(this.#base);
    url.pathname = `${this.#folder}/${name.split("/").map(encodeURIComponent).join("/")}`;
    return url;
  }

  #failure(name: string, message: string): CheckpointError {
    return new CheckpointError(`${this.label}/${name}`, message);
  }
}
