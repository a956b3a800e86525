/** What somebody typed to name a model, as `LLM.load` takes it; or why it names none. */
export type Address = { readonly source: string } | { readonly problem: string };

const NEEDED = "Name a model of the Hub (owner/name), or the https:// address of a folder or a .gguf.";

/** `base` is the page's own address, whose server may be one without https. */
export function parseAddress(typed: string, base: string): Address {
  const text = typed.trim();
  if (/^[\w.-]+\/[\w.-]+(@[^:/]+)?(:.+)?$/.test(text) && !/^\.|^https?:/i.test(text)) return { source: `hf:${text}` };
  if (/^hf:/.test(text)) {
    return /^hf:[\w.-]+\/[\w.-]+(@[^:]+)?(:.+)?$/.test(text) ? { source: text } : { problem: NEEDED };
  }
  if (!/^(\w+:|\.{0,2}\/)/.test(text) || !URL.canParse(text, base)) return { problem: NEEDED };
  const url = new URL(text, base);
  if (url.protocol !== "https:" && url.origin !== new URL(base).origin) {
    return { problem: `${NEEDED} From other servers a page may only fetch over https.` };
  }
  return { source: hubName(url) ?? folderOf(url) };
}

/** A page of the Hub as the short name that the stored model has, too. */
function hubName({ hostname, pathname }: URL): string | undefined {
  const isHub = hostname === "huggingface.co" || hostname === "hf.co";
  const page = /^\/([\w.-]+\/[\w.-]+)(?:\/(?:tree|blob|resolve)\/([^/]+)(?:\/(.*?))?)?\/?$/.exec(pathname);
  if (!isHub || !page) return undefined;
  const [, repository, revision = "main", path = ""] = page;
  const folderOrFile = path === "" || /\.gguf$/i.test(path) ? path : `${path}/`;
  return `hf:${repository}${revision === "main" ? "" : `@${revision}`}${folderOrFile && `:${folderOrFile}`}`;
}

/** The folder, where one of its files was named. */
function folderOf(url: URL): string {
  url.pathname = url.pathname.replace(/\/[^/]+\.(json|safetensors|bin)$/, "/");
  if (!/\.gguf$|\/$/i.test(url.pathname)) url.pathname += "/";
  return url.href;
}

/** What to call the model at an address: its repository, its file, or its folder. */
export function labelOf(source: string): string {
  const [, repository, path] = /^hf:[^/]+\/([^@:]+)(?:@[^:]+)?(?::(.+))?$/.exec(source) ?? [];
  const names = (path ?? (URL.canParse(source) && !repository ? new URL(source).pathname : "")).split("/");
  const name = decodeURIComponent(names.filter((part) => !/^(resolve|main|)$/.test(part)).at(-1) ?? "");
  if (/\.gguf$/i.test(name)) return name.replace(/(-\d{5}-of-\d{5})?\.gguf$/i, "");
  return [repository, name].filter(Boolean).join(" ") || source;
}

/** Whether two addresses are of the same model: slashes at the end and query strings are none of its name. */
export function isSameAddress(a: string, b: string): boolean {
  const plain = (source: string) => source.replace(/[?#].*$/, "").replace(/\/+$/, "");
  return plain(a) === plain(b);
}
