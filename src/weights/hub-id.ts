/** A model on the Hugging Face Hub. */
export interface HubId {
  /** `owner/name` */
  readonly repo: string;
  /** A branch, tag or commit. Default: the main branch. */
  readonly revision?: string;
  /** A folder of the repository, with a slash at its end; "" is all of it. */
  readonly folder: string;
  /** A file of that folder, where one was named. */
  readonly file?: string;
}

/**
 * Reads `hf:owner/repo[@revision][:file]`, or the address of a page on huggingface.co; undefined for anything else. A file
 * that ends in a slash is a folder.
 */
export function parseHubId(text: string): HubId | undefined {
  const short = /^hf:(?:\/\/)?([\w.-]+\/[\w.-]+)(?:@([^:]+))?(?::(.+))?$/.exec(text);
  const page =
    /^https:\/\/(?:huggingface\.co|hf\.co)\/([\w.-]+\/[\w.-]+?)(?:\/(?:tree|blob|resolve)\/([^/?#]+)(?:\/([^?#]*))?)?\/?(?:[?#].*)?$/;
  const [, repo, revision, path = ""] = short ?? page.exec(text) ?? [];
  if (repo === undefined) return undefined;
  const isFolder = short ? path.endsWith("/") : !/\.gguf$/i.test(path);
  const folder = isFolder ? path.replace(/\/*$/, path ? "/" : "") : path.slice(0, path.lastIndexOf("/") + 1);
  const file = isFolder ? undefined : path.slice(folder.length) || undefined;
  return { repo, ...(revision && { revision: decodeURIComponent(revision) }), folder, ...(file && { file }) };
}
