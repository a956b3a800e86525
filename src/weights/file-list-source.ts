import { CheckpointError } from "../errors.ts";
import type { FileSource } from "./checkpoint.ts";

/**
 * Files that a user dropped or picked. Where they carry paths (`webkitRelativePath`), the model is the folder that holds
 * the topmost config.json, sluice.json or .gguf; files outside of it are not seen.
 */
export class FileListSource implements FileSource {
  readonly label: string;
  readonly #files = new Map<string, File>();

  /** Fails with `CheckpointError` where two folders at the top hold a model. */
  constructor(files: readonly File[]) {
    const folder = modelFolder(files.map(pathOf));
    this.label = folder.split("/").at(-2) ?? "the chosen files";
    for (const file of files) {
      const path = pathOf(file);
      if (path.startsWith(folder)) this.#files.set(path.slice(folder.length), file);
    }
  }

  async list(): Promise<string[]> {
    return [...this.#files.keys()];
  }

  async size(name: string): Promise<number | undefined> {
    return this.#files.get(name)?.size;
  }

  async read(
    name: string,
    range?: { from: number; to: number },
    signal?: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>> {
    signal?.throwIfAborted();
    const label = `${this.label}/${name}`;
    const file = this.#files.get(name);
    if (!file) throw new CheckpointError(label, "this file is not among those chosen.");
    const { from, to } = range ?? { from: 0, to: file.size };
    if (to > file.size) {
      throw new CheckpointError(label, `the file ends at byte ${file.size}; bytes up to ${to} were asked for.`);
    }
    try {
      return new Uint8Array(await file.slice(from, to).arrayBuffer());
    } catch (cause) {
      const message = "the browser can no longer read it: it was changed or moved. Choose the folder again.";
      throw new CheckpointError(label, message, { cause });
    }
  }
}

const pathOf = (file: File): string => file.webkitRelativePath || file.name;

/** The folder of the topmost config.json, sluice.json or .gguf with a slash at its end, "" where paths have no folder. */
function modelFolder(paths: readonly string[]): string {
  const depth = (path: string) => path.split("/").length;
  const folders = [
    ...new Set(paths.flatMap((path) => /^(.*\/|)(?:config\.json|sluice\.json|[^/]+\.gguf)$/i.exec(path)?.[1] ?? [])),
  ];
  folders.sort((a, b) => depth(a) - depth(b));
  if (folders.length > 1 && depth(folders[0]) === depth(folders[1])) {
    const message = "each holds a config.json, a sluice.json or a .gguf. Choose the folder of one model.";
    throw new CheckpointError("the chosen files", `${folders[0]} and ${folders[1]} ${message}`);
  }
  return folders[0] ?? "";
}
