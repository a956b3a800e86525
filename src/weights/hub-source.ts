import { CheckpointError } from "../errors.ts";
import type { FileSource } from "./checkpoint.ts";
import { type ByteRange, fetchJson, fetchRange, type HttpOptions, type RangeRequest } from "./fetch-range.ts";
import type { HubId } from "./hub-id.ts";
import { readAhead } from "./read-ahead.ts";

export interface HubOptions extends HttpOptions {
  /** A token with read access, or what asks for one; called once, when the model is opened. Sent to the Hub and nobody else. */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>);
  /** The Hub, or a mirror of it. Default https://huggingface.co. */
  readonly endpoint?: string;
}

/** A model on the Hugging Face Hub, all of it from one commit. Nothing is asked of the network before the first call. */
export const hubSource = (id: HubId, options?: HubOptions): FileSource => readAhead(new HubSource(id, options));

interface Listing {
  readonly commit: string;
  readonly files: ReadonlyMap<string, HubFile>;
}

interface HubFile {
  readonly sizeBytes: number;
  /** A hash of the content. */
  readonly version: string;
}

class HubSource implements FileSource {
  readonly label: string;
  readonly file?: string;
  readonly #id: HubId;
  readonly #options: HubOptions;
  readonly #endpoint: URL;
  /** Where the Hub redirected to: signed links of a store elsewhere, which end after some time. */
  readonly #located = new Map<string, URL>();
  #listing: Promise<Listing> | undefined;
  #token: Promise<string | undefined> | undefined;

  constructor(id: HubId, options: HubOptions = {}) {
    const endpoint = options.endpoint || "https://huggingface.co";
    if (!URL.canParse(endpoint)) throw new CheckpointError(endpoint, "this is not the URL of a Hub.");
    this.#id = id;
    this.#options = options;
    this.#endpoint = new URL(endpoint);
    this.file = id.file;
    const folder = id.folder.replace(/\/$/, "");
    this.label = `hf:${id.repo}${id.revision ? `@${id.revision}` : ""}${folder && `:${folder}`}`;
  }

  async list(signal?: AbortSignal): Promise<readonly string[]> {
    return [...(await this.#files(signal)).files.keys()];
  }

  async size(name: string, signal?: AbortSignal): Promise<number | undefined> {
    return (await this.#files(signal)).files.get(name)?.sizeBytes;
  }

  async version(name: string, signal?: AbortSignal): Promise<string | undefined> {
    return (await this.#files(signal)).files.get(name)?.version;
  }

  async read(name: string, range?: ByteRange, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const { commit, files } = await this.#files(signal);
    const label = `${this.label}/${name}`;
    const size = files.get(name)?.sizeBytes;
    if (size === undefined) throw new CheckpointError(label, "there is no such file in the repository.");
    const { from, to } = range ?? { from: 0, to: size };
    if (to > size) throw new CheckpointError(label, `the file ends at byte ${size}; bytes up to ${to} were asked for.`);
    if (from === to) return new Uint8Array(0);
    const asked = { label, range: { from, to }, maxWholeBytes: size, options: this.#options, signal };
    const reply = (await this.#readLocated(name, asked)) ?? (await this.#readResolved(name, commit, asked));
    switch (reply.kind) {
      case "part":
        return reply.bytes;
      case "whole":
        return reply.bytes.slice(from, to);
      default:
        throw new CheckpointError(label, "the Hub lists the file, but does not send what was asked of it. Try again.");
    }
  }

  /** Without a token: the link is all that its server wants. */
  async #readLocated(name: string, asked: Omit<RangeRequest, "url">) {
    const url = this.#located.get(name);
    if (!url) return undefined;
    try {
      return await fetchRange({ ...asked, url, explain: () => new ExpiredLink() });
    } catch (error) {
      if (!(error instanceof ExpiredLink)) throw error;
      this.#located.delete(name);
      return undefined;
    }
  }

  async #readResolved(name: string, commit: string, asked: Omit<RangeRequest, "url">) {
    const url = this.#url(`${this.#id.repo}/resolve/${commit}/${escaped(this.#id.folder + name)}`);
    const headers = await this.#headers();
    const reply = await fetchRange({ ...asked, url, headers, explain: (response) => this.#refusal(response) });
    const end = reply.url && new URL(reply.url);
    if (end && end.origin !== this.#endpoint.origin) this.#located.set(name, end);
    return reply;
  }

  async #files(signal?: AbortSignal): Promise<Listing> {
    const shared = this.#listing;
    const listing = shared ?? this.#list(signal);
    this.#listing = listing;
    try {
      return await listing;
    } catch (error) {
      if (this.#listing === listing) this.#listing = undefined;
      // Whoever asked first may have aborted; that is not for this caller to suffer.
      if (shared && !signal?.aborted) return this.#files(signal);
      throw error;
    }
  }

  async #list(signal?: AbortSignal): Promise<Listing> {
    const { repo, revision = "main", folder } = this.#id;
    const url = this.#url(`api/models/${repo}/revision/${encodeURIComponent(revision)}`);
    url.searchParams.set("blobs", "true");
    const headers = await this.#headers();
    const explain = (response: Response) => this.#refusal(response);
    const json = await fetchJson({ url, label: this.label, headers, explain, options: this.#options, signal });
    const { sha, siblings } = json as { sha?: unknown; siblings?: unknown };
    if (typeof sha !== "string" || !/^[0-9a-f]{40,64}$/.test(sha) || !Array.isArray(siblings)) {
      throw new CheckpointError(
        this.label,
        `${this.#endpoint.origin} does not answer as a Hub does. Check HF_ENDPOINT.`,
      );
    }
    const files = siblings.flatMap(({ rfilename, size, lfs, blobId }): [string, HubFile][] => {
      const sizeBytes = lfs?.size ?? size;
      if (typeof rfilename !== "string" || !rfilename.startsWith(folder) || !Number.isSafeInteger(sizeBytes)) return [];
      return [[rfilename.slice(folder.length), { sizeBytes, version: String(lfs?.sha256 ?? blobId ?? sha) }]];
    });
    return { commit: sha, files: new Map(files) };
  }

  async #headers(): Promise<Record<string, string>> {
    const { token } = this.#options;
    this.#token ??= Promise.resolve(typeof token === "function" ? token() : token);
    const value = (await this.#token)?.trim();
    return value ? { Authorization: `Bearer ${value}` } : {};
  }

  #url(path: string): URL {
    const url = new URL(this.#endpoint);
    url.pathname = `${url.pathname.replace(/\/$/, "")}/${path}`;
    return url;
  }

  /** One message for each way in which the Hub says no. It answers 401 for what does not exist, too. */
  #refusal({ status, headers }: Response): CheckpointError | undefined {
    const code = headers.get("x-error-code");
    const page = `${this.#endpoint.origin}/${this.#id.repo}`;
    const give = "give a token with read access (HF_TOKEN, or the option hubToken)";
    if (code === "GatedRepo") {
      const message = `this model is gated. Accept its conditions at ${page}, and ${give} of the account that did.`;
      return new CheckpointError(this.label, message);
    }
    if (code === "RevisionNotFound") {
      return new CheckpointError(this.label, `${page} has no revision ${this.#id.revision}. Check the part after @.`);
    }
    if (status === 401 || status === 403 || status === 404) {
      const message = `there is no such model, or no access to it (${status}). Check the name; if ${page} is private or gated, ${give}.`;
      return new CheckpointError(this.label, message);
    }
    return undefined;
  }
}

const escaped = (path: string): string => path.split("/").map(encodeURIComponent).join("/");

class ExpiredLink extends Error {}
