/** The files of a checkpoint, and its folder's name. */
export interface Folder {
  readonly name: string;
  readonly files: readonly File[];
}

export async function folderOfDrop(transfer: DataTransfer): Promise<Folder> {
  // Entries must be taken before the first await: the list is emptied when the event ends.
  const dropped = [...transfer.items].map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
  const found = await Promise.all(
    dropped.map((item) => (item instanceof File ? [{ path: item.name, file: item }] : item ? filesOfEntry(item) : [])),
  );
  return checkpointFolder(found.flat());
}

/** A folder picked with `<input webkitdirectory>`. */
export function folderOfInput(input: HTMLInputElement): Folder {
  return checkpointFolder(
    [...(input.files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file })),
  );
}

export interface Found {
  readonly path: string;
  readonly file: File;
}

/** Of nested folders, the one nearest to the top that holds a config.json, a packed model's sluice.json, or a .gguf. */
export function checkpointFolder(found: readonly Found[]): Folder {
  const depth = (path: string) => path.split("/").length;
  const models = found.filter(({ path }) => /(^|\/)(config\.json|sluice\.json|[^/]+\.gguf)$/i.test(path));
  const [model] = models.sort((a, b) => depth(a.path) - depth(b.path));
  const folder = model?.path.replace(/[^/]*$/, "") ?? "";
  const isInFolder = (path: string) => path.startsWith(folder) && !path.slice(folder.length).includes("/");
  return {
    name: ggufName(models) ?? (folder.split("/").at(-2) || "Local model"),
    files: found.filter(({ path }) => !model || isInFolder(path)).map(({ file }) => file),
  };
}

/** A `.gguf` says more than the folder where it happens to lie. */
function ggufName(models: readonly Found[]): string | undefined {
  const [, name] = /([^/]+?)(?:-\d{5}-of-\d{5})?\.gguf$/i.exec(models[0]?.path ?? "") ?? [];
  return name;
}

async function filesOfEntry(entry: FileSystemEntry): Promise<Found[]> {
  if (isFile(entry)) {
    const file = await new Promise<File>((resolve, reject) => entry.file(resolve, reject));
    return [{ path: entry.fullPath, file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: Found[] = [];
  // A call gives some of the entries (Chrome: 100); an empty one is the end.
  for (;;) {
    const entries = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return found;
    for (const child of entries) found.push(...(await filesOfEntry(child)));
  }
}

const isFile = (entry: FileSystemEntry): entry is FileSystemFileEntry => entry.isFile;
